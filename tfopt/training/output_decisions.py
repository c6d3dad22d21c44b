"""How the outputs of a model decide on classes, from its loss and its last activation."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfopt.losses import build_loss
from tfopt.metrics import Decision, Metric
from tfopt.metrics.decision import multi_hot
from tfopt.models import signature
from tfopt.models.last_activation import last_activation
from tfopt.training.label_checks import loss_name

Decisions = tuple[tuple[str, Decision], ...]
# Scores at which a loss shows where it decides.
_TRIED = (-3.0, -1.0, 0.5)
# Names of Keras's accuracies that cut a score at one half, or take the largest.
_ACCURACIES = ("accuracy", "acc", "binary_accuracy")


def decided(metrics: Iterable[Metric], model: keras.Model, loss: Any = None, y: Any = None) -> list[Metric]:
    """The metrics with the outputs of a model decided as its loss says.

    A model trained with `from_logits=True` gives logits, whose class begins at 0, not at one half; with a binary loss
    and labels of several classes a sample each output decides for itself.

    Args:
        metrics: Metrics of the model's outputs; those that say how they decide stay as they are.
        model: The model.
        loss: Its loss, as `losses.build_loss` takes it; None for the one that it is compiled with.
        y: Some of its targets, an array or a dict of arrays by output.
    """
    found = decisions_of(model, loss, y)
    return [
        replace(metric, decisions=found) if metric.of_classes and not metric.decisions else metric for metric in metrics
    ]


def decisions_of(model: keras.Model, loss: Any = None, y: Any = None) -> Decisions:
    """How the outputs of a model decide, by name, where it is not the usual way; arguments as `decided` takes them."""
    loss = build_loss(loss) or getattr(model, "loss", None)
    shapes: Mapping[str, Any] = signature.output_shapes(model) or _of_subclassed(model, loss, y)
    if isinstance(loss, list | tuple):
        loss = dict(zip(shapes, loss, strict=False))
    found = []
    for number, (name, shape) in enumerate(shapes.items()):
        own = loss.get(name) if isinstance(loss, Mapping) else loss
        labels = y.get(name) if isinstance(y, Mapping) else y
        labels = None if labels is None else np.asarray(labels)
        decision = _decision(own, last_activation(model, number), shape, labels)
        if decision != Decision():
            found.append((name, decision))
    return tuple(found)


def _of_subclassed(model: keras.Model, loss: Any, y: Any) -> dict[str, None]:
    """The output names of a model that does not know its outputs, without their shapes."""
    named = next((given for given in (loss, y) if isinstance(given, Mapping)), None)
    return dict.fromkeys(named or getattr(model, "output_names", None) or ["output"])


def _decision(loss: Any, activation: str, shape: tuple[int | None, ...] | None, labels: Any) -> Decision:
    """How one output decides, by its loss, its last activation, its shape without the batch, and its labels."""
    name = (loss_name(loss) if loss is not None else None) or ""
    if "categorical" in name or activation == "softmax":
        return Decision()
    fits = labels is not None and (shape is None or (labels.ndim == len(shape) + 1 and labels.shape[-1] == shape[-1]))
    several = fits and multi_hot(labels)
    width = labels.shape[-1] if several else (shape[-1] if shape else None) or 1
    if loss is None:  # what is no probability and has flags for targets is a logit
        logits = activation == "linear" and labels is not None and bool(np.isin(labels, (0, 1)).all())
    else:
        logits = activation != "sigmoid" and decides_at_zero(loss, width)
    multilabel = several and (logits or activation == "sigmoid" or name.startswith("binary_"))
    return Decision(logits and (multilabel or width == 1), multilabel)


def decides_at_zero(loss: Any, width: int = 1) -> bool:
    """Whether a loss takes each score for a logit or a margin: 1 costs as much at s as 0 does at -s, up to a factor.

    So do binary crossentropies of logits and hinges, Keras's and a user's own; those of probabilities, and errors of
    values, do not.

    Args:
        loss: A Keras loss, its name, or a function of labels and outputs.
        width: Number of the output's scores.
    """
    function = keras.losses.get(loss)

    def cost(label: float, score: float) -> float:
        values = [np.full((1, width), value, np.float32) for value in (label, score)]
        return float(np.mean(keras.ops.convert_to_numpy(function(*values))))

    with contextlib.suppress(Exception), warnings.catch_warnings():  # it may take other shapes: then its word counts
        warnings.simplefilter("ignore")
        ones, zeros = np.array([[cost(1.0, score), cost(0.0, -score)] for score in _TRIED]).T
        if not (np.isfinite([ones, zeros]).all() and min(*ones, *zeros) > 0 and ones[0] > ones[-1]):
            return False
        return bool(np.ptp(ones / zeros) <= 1e-3 * (ones / zeros).max())
    return bool(getattr(loss, "from_logits", False))


def keras_metric(name: str, decision: Decision | None) -> Any:
    """A metric that Keras has, as `compile` takes it for an output that decides so."""
    if decision is None or name not in _ACCURACIES:
        return name
    # BinaryAccuracy takes no threshold of 0.
    return keras.metrics.MeanMetricWrapper(keras.metrics.binary_accuracy, name=name, threshold=decision.threshold)


def at_thresholds(metrics: Any, decisions: Decisions, outputs: list[str]) -> Any:
    """The metrics of a model's own `compile`, in any form, with its accuracies cut where its outputs decide.

    Args:
        metrics: What `compile` was given.
        decisions: How the outputs decide.
        outputs: The names of the model's outputs.
    """
    known = dict(decisions)

    def changed(given: Any, output: str) -> Any:
        if isinstance(given, list | tuple):
            return [changed(one, output) for one in given]
        return keras_metric(given, known.get(output)) if isinstance(given, str) else given

    if not known or metrics is None:
        return metrics
    if isinstance(metrics, Mapping):
        return {output: changed(given, output) for output, given in metrics.items()}
    if len(outputs) > 1 and isinstance(metrics, list | tuple):
        return [changed(given, output) for given, output in zip(metrics, outputs, strict=False)]
    return changed(metrics, next(iter(known)))

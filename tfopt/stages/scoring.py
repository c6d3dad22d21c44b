"""The metrics that a stage reports of a model, and its accuracy gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.errors import DataError, InputError
from tfopt.keras_private import compiled_settings
from tfopt.recipe.stage import Context
from tfopt.stages.class_labels import check_class_labels

if TYPE_CHECKING:
    from tfopt.data.splits import Samples
    from tfopt.metrics import Metric, Outputs


# Samples to try metrics on before anything is trained: so many labels, on the outputs for a few samples over and over.
TRIED, PREDICTED = 256, 8


def test_metrics(model: Any, context: Context) -> dict[str, float]:
    """The recipe's metrics, or the loss's usual ones, of a Keras model on the test split, the gated one first."""
    from tfopt.metrics import scores_of
    from tfopt.models import signature

    test = context.data.test
    return scores_of(metrics_of(model, context), test, signature.keras_outputs(model, test))


def check_metrics(model: Any, context: Context) -> None:
    """Checks that the metrics can be computed from labels and outputs such as the model's.

    Raises:
        InputError: A metric cannot be computed.
    """
    from tfopt.metrics import scores_of
    from tfopt.models import signature

    every = context.data.test
    split = every.choose(TRIED, context.seed)
    few = signature.outputs_on_samples(model, split.few(PREDICTED))
    for metric in metrics_of(model, context):
        check_class_labels(metric, every.y, few, model, context.loss)
        try:
            scores_of([metric], split, _over(few, len(split)))
        except InputError:  # a rare class may be missing in a choice of the samples
            scores_of([metric], every, _over(few, len(every)))


def _over(few: Outputs, count: int) -> Outputs:
    """Outputs for a few samples, over and over, as those of so many."""
    return {name: np.resize(values, (count, *values.shape[1:])) for name, values in few.items()}


def metrics_of(model: Any, context: Context) -> list[Metric]:
    """The metrics to report of a model of a run, the gated one first, as `metrics_on` finds them."""
    return metrics_on(model, context.data.test, context.metrics, context.loss)


def metrics_on(model: Any, test: Samples, asked: Sequence[Metric] = (), loss: Any = None) -> list[Metric]:
    """The metrics to report of a model: of each output that has targets where there are several.

    They are those asked for, else those the model was compiled with that tfopt knows, else the usual ones of the loss.
    Outputs are in the order of the metrics asked for, those without any after them.

    Args:
        model: The Keras model.
        test: The samples that it is scored on.
        asked: The metrics of a recipe or a command.
        loss: The loss of a recipe.

    Raises:
        DataError: The model has several outputs, and the labels do not say which of them they are of.
        InputError: A metric is of an output that the model does not have, or that has no labels.
    """
    from tfopt.data.labels import check_named
    from tfopt.models import signature
    from tfopt.training.output_decisions import decided

    outputs = signature.output_names(model) or list(signature.keras_outputs(model, test.few(1)))
    y = test.y
    check_named(y, outputs, "y_test")
    _check_outputs(asked, outputs, y)
    scored = [name for name in _as_asked(asked, outputs) if name in y] if len(outputs) > 1 else [None]
    found: list[Metric] = []
    for output in scored:
        own = [m for m in asked if m.output in (None, output or outputs[0])]
        for metric in own or _usual_metrics(model, y, loss, output):
            found.append(metric.of(output) if output and metric.output is None else metric)
    return decided(dict.fromkeys(found), model, loss, y)


def foreseen_metrics(asked: tuple[Metric, ...], loss: Any, compiled: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics that `metrics_of` will find, as far as they are known before there is a model; empty if they are not.

    Args:
        asked: The recipe's metrics.
        loss: The recipe's loss.
        compiled: What the model is known to be compiled with; empty where nothing is.
    """
    from tfopt import metrics

    if asked or not compiled:
        return asked
    names = compiled.get("metrics") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    if found := [metric for name in names if (metric := metrics.known(name)) is not None]:
        return tuple(found)
    loss = loss if loss is not None else compiled.get("loss")
    return (metrics.default_metric(loss.lower()),) if isinstance(loss, str) else ()


def _as_asked(metrics: Sequence[Metric], outputs: Sequence[str]) -> list[str]:
    """Outputs in the order in which metrics first name them; those that none names are last, in the model's order."""
    named = [name for metric in metrics for name in outputs if metric.output in (None, name)]
    return list(dict.fromkeys([*named, *outputs]))


def _check_outputs(metrics: Sequence[Metric], outputs: Sequence[str], y: Any) -> None:
    """Refuses metrics of outputs that are not there or have no labels, and labels of none of several outputs."""
    labelled = [name for name in outputs if name in y] if len(outputs) > 1 else outputs
    if not labelled:
        raise DataError(f"the model's outputs are {', '.join(outputs)}, and y_test has only {', '.join(y)}.", ("data",))
    for name in (metric.output for metric in metrics if metric.output is not None):
        if name not in outputs:
            raise InputError(
                f"metrics names the output {name!r}, and the model's are {', '.join(outputs)}.", ("metrics",)
            )
        if name not in labelled:
            raise InputError(
                f"metrics names the output {name!r}, and y_test has only {', '.join(y)}. Give its labels, or leave its "
                "metrics out.",
                ("metrics",),
            )


def _usual_metrics(model: Any, y: Any, loss: Any, output: str | None) -> list[Metric]:
    from tfopt import metrics
    from tfopt.training.label_checks import loss_name

    labels = y[output] if output else y
    names = _of_output(compiled_settings(model).get("metrics"), output)
    names = [m if isinstance(m, str) else getattr(m, "name", "") for m in names if m is not None]
    if found := [metric for name in names if (metric := metrics.known(name)) is not None]:
        return list(dict.fromkeys(found))
    loss = loss or getattr(model, "loss", None)
    loss = loss.get(output) if isinstance(loss, Mapping) and output in loss else loss
    if loss is None and not isinstance(labels, dict) and labels.dtype.kind in "iub":
        return [metrics.METRICS["accuracy"]]  # whole numbers are class ids until a loss says otherwise
    return [metrics.default_metric(None if isinstance(loss, Mapping) else loss_name(loss))]


def _of_output(compiled: Any, output: str | None) -> list[Any]:
    """The compiled metrics of one output, from any of the forms that Keras takes."""
    if isinstance(compiled, Mapping):
        compiled = compiled.get(output)
    flat = compiled if isinstance(compiled, list | tuple) else [compiled]
    return [metric for entry in flat for metric in (entry if isinstance(entry, list | tuple) else [entry])]


def gated(name: str | None, metrics: Sequence[Metric]) -> Metric:
    """The gated metric: that of the name; the first if no name is given.

    Raises:
        InputError: No metric has that name.
    """
    from tfopt.errors import did_you_mean

    if name is None:
        return metrics[0]
    known = {metric.name: metric for metric in metrics}
    if name not in known:
        raise InputError(
            f"{name!r} is not among the metrics that are measured. {did_you_mean(name, known)} Add it to the recipe's "
            "metrics.",
            ("metric",),
        )
    return known[name]


def check_gate(max_drop: float | None, name: str | None, metrics: Sequence[Metric]) -> None:
    """Refuses a gate that cannot be met or looked at, before there is a model.

    Args:
        max_drop: The largest drop that is allowed.
        name: The metric that the gate looks at; None for the first one.
        metrics: The metrics that will be measured, as far as they are known; outputs that are not among them may have
            others, whose names begin with the output's.

    Raises:
        InputError: No metric can have that name, or `max_drop` of an accuracy is 1 or above.
    """
    from tfopt.metrics import output_and_metric

    if name is None:
        first = metrics[:1] if all(metric.output is None for metric in metrics) else ()
    else:
        first = tuple(metric for metric in metrics if f"_{name}".endswith(f"_{metric.name}"))
        if metrics and not first and output_and_metric(name)[1] is None:
            gated(name, metrics)
    for metric in first[:1]:
        check_drop(max_drop, metric)


def check_drop(max_drop: float | None, metric: Metric) -> None:
    """Refuses a `max_drop` of an accuracy that no file could exceed.

    Raises:
        InputError: `max_drop` of an accuracy is 1 or above.
    """
    if metric.keras == "accuracy" and max_drop is not None and max_drop >= 1:
        raise InputError(
            f"max_drop is a fraction: write 0.02 for two points of accuracy. Received: {max_drop:g}.", ("max_drop",)
        )

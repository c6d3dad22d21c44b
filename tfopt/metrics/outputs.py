"""A model's outputs by name: scored against the targets of a split, and compared with those of another model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tfopt.data.labels import check_named
from tfopt.data.splits import Samples
from tfopt.errors import DataError, InputError
from tfopt.metrics.decision import Decision
from tfopt.metrics.labels import classes, same_share
from tfopt.metrics.metric import Metric
from tfopt.metrics.registry import METRICS, default_metric

Outputs = Mapping[str, np.ndarray]
# Decibels that stand for no error at all, and for nothing but error: more than float32 can tell apart.
MOST_DB = 200.0


def score_split(metric: Metric, targets: Samples, outputs: Outputs) -> float:
    """A metric on a split: of the output that it names, else the mean over the outputs that have targets.

    Args:
        metric: The metric.
        targets: The split, whose `y` is an array `(samples, ...)`, or a dict of such by output.
        outputs: The model's outputs `(samples, ...)` by name.

    Raises:
        DataError: The model does not have the metric's output, no output has targets, or the model has several and
            neither `y` nor the metric says which of them is meant.
    """
    y = targets.y
    if metric.output is not None and metric.output not in outputs:
        raise DataError(
            f"{metric.name} is of the output {metric.output!r}, and the model's outputs are {', '.join(outputs)}.",
            ("metrics",),
        )
    if metric.output is None:
        check_named(y, outputs)
    if not isinstance(y, dict):
        name = metric.output or next(iter(outputs))
        return metric.value(y, outputs[name], name)
    shared = [name for name in outputs if name in y and metric.output in (None, name)]
    if not shared:
        raise DataError(f"the model's outputs are {', '.join(outputs)}, and the targets are {', '.join(y)}.", ("data",))
    return float(np.mean([metric.value(y[name], outputs[name], name) for name in shared]))


def scores_of(metrics: Iterable[Metric], targets: Samples, outputs: Outputs) -> dict[str, float]:
    """Metrics on a split by name, as `score_split` takes each.

    Raises:
        InputError: A metric cannot be computed.
    """
    found = {}
    for metric in metrics:
        try:
            found[metric.name] = score_split(metric, targets, outputs)
        except (ValueError, TypeError, IndexError) as error:
            why = str(error).splitlines()[0]
            raise InputError(
                f"the metric {metric.name} cannot be taken of the model's outputs and the test labels: {why}. "
                "Name the one that you want, such as accuracy.",
                ("metrics",),
            ) from error
    return found


def metrics_by_labels(asked: Sequence[Metric], targets: Samples, outputs: Outputs) -> list[Metric]:
    """The metrics of outputs of which only the labels tell what they are: accuracy of ids, else the squared error.

    One score tells two classes apart: whole numbers of more values than two are quantities beside it, as ages are.

    Args:
        asked: The metrics of every output; empty for the usual ones.
        targets: The split.
        outputs: The outputs of a model on it, by name.
    """
    found: list[Metric] = []
    for name, values in outputs.items():
        labels = targets.y.get(name) if isinstance(targets.y, dict) else targets.y
        if labels is None:
            continue
        quantities = (values.ndim < 2 or values.shape[-1] == 1) and len(np.unique(labels)) > 2
        ids = not quantities and (labels.dtype.kind in "iub" or bool(np.isin(labels, (0, 1)).all()))
        own = tuple(asked) or (METRICS["accuracy"] if ids else default_metric(None),)
        if values.ndim == 2 and values.shape[1] == 1 and (values.min() < 0 or values.max() > 1):
            own = tuple(replace(metric, decisions=((name, Decision(logits=True)),)) for metric in own)
        found += [metric.of(name) if len(outputs) > 1 and metric.output is None else metric for metric in own]
    return list(dict.fromkeys(found))


def compare_outputs(expected: Outputs, actual: Outputs) -> dict[str, float]:
    """Compares outputs with those of the original model.

    Args:
        expected: Outputs `(samples, ...)` of the original model, by name.
        actual: The outputs of the same names and shapes to compare.

    Returns:
        `agreement`: the fraction of samples with the same class in every output that is scores of classes, left out
        where none is;
        `max_error` and `mean_error`: absolute differences; `snr_db`: the power of the expected outputs over that of
        the difference, in decibels.
    """
    pairs = [(expected[name].astype(np.float64), actual[name].astype(np.float64)) for name in expected]
    signal, found = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    error = np.abs(signal - found)
    result = {
        "max_error": float(error.max()),
        "mean_error": float(error.mean()),
        "snr_db": snr_db(signal, found),
    }
    scores = [(a, b) for a, b in pairs if a.ndim > 1 and a.shape[-1] > 1]
    if scores:
        result["agreement"] = same_share([classes(a) == classes(b) for a, b in scores])
    return result


def snr_db(expected: np.ndarray, found: np.ndarray) -> float:
    """The power of an array over that of its difference from another, in decibels.

    Args:
        expected: The values `(n,)`.
        found: The values `(n,)` with an error.

    Returns:
        The ratio within `MOST_DB` of 0; NaN where a power is not finite.
    """
    error = expected - found
    power, noise = float(np.vdot(expected, expected)), float(np.vdot(error, error))
    if not (math.isfinite(power) and math.isfinite(noise)):
        return math.nan
    ratio = math.inf if not noise else 10 * math.log10(power / noise) if power else -math.inf
    return max(min(ratio, MOST_DB), -MOST_DB)

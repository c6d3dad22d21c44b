"""A model's outputs by name: scored against the targets of a split, and compared with those of another model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tfopt.data.labels import check_named
from tfopt.data.splits import Samples
from tfopt.errors import DataError
from tfopt.metrics.labels import classes, same_share
from tfopt.metrics.metric import Metric

Outputs = Mapping[str, np.ndarray]


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
    error = np.concatenate([(a - b).ravel() for a, b in pairs])
    signal = np.concatenate([a.ravel() for a, _ in pairs])
    noise_power = float((error**2).mean())
    power = float((signal**2).mean())
    ratio = math.inf if not noise_power else 10 * math.log10(power / noise_power) if power else -math.inf
    result = {
        "max_error": float(np.abs(error).max()),
        "mean_error": float(np.abs(error).mean()),
        "snr_db": max(min(ratio, 999.0), -999.0),
    }
    scores = [(a, b) for a, b in pairs if a.ndim > 1 and a.shape[-1] > 1]
    if scores:
        result["agreement"] = same_share([classes(a) == classes(b) for a, b in scores])
    return result

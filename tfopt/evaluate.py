"""How good an artifact is, Keras or `.tflite` alike, and how far one strays from another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data import CHUNK, Arrays, Samples
from tfopt.errors import DataError
from tfopt.metrics import Metric, classes

Outputs = Mapping[str, np.ndarray]


def keras_outputs(model: Any, x: Arrays | Samples) -> dict[str, np.ndarray]:
    """A Keras model's outputs by name, each `(samples, ...)`."""
    from tfopt import models

    inputs = x.inputs() if isinstance(x, Samples) else x
    outputs = models.named_outputs(model, model.predict(inputs, batch_size=CHUNK, verbose=0))
    return {name: np.asarray(value) for name, value in outputs.items()}


def file_outputs(source: Path | bytes, x: Arrays | Samples) -> dict[str, np.ndarray]:
    """A `.tflite` file's outputs on LiteRT by name, each `(samples, ...)`, dequantized."""
    from tfopt.throughput import Evaluator

    run = Evaluator(source)
    parts = [run(chunk) for chunk in (x.chunks() if isinstance(x, Samples) else [x])]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def score(metric: Metric, targets: Samples, outputs: Outputs) -> float:
    """A metric of outputs on a split: of the output that it names, else the mean over those that have targets.

    Raises:
        DataError: The targets or the outputs have other names than the metric.
    """
    y = targets.y
    if metric.output is not None and metric.output not in outputs:
        raise DataError(
            f"{metric.name} is of the output {metric.output!r}, and the model's outputs are {', '.join(outputs)}.",
            ("metrics",),
        )
    if not isinstance(y, dict):
        return metric.score(y, outputs[metric.output or next(iter(outputs))])
    shared = [name for name in outputs if name in y and metric.output in (None, name)]
    if not shared:
        raise DataError(f"the model's outputs are {', '.join(outputs)}, and the targets are {', '.join(y)}.", ("data",))
    return float(np.mean([metric.score(y[name], outputs[name]) for name in shared]))


def compare(expected: Outputs, actual: Outputs) -> dict[str, float]:
    """How far outputs stray from those of the model they were made from.

    Returns:
        `agreement`: the fraction of samples with the same class, where outputs are scores of classes (else left out);
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
        result["agreement"] = float(np.mean([(classes(a) == classes(b)).mean() for a, b in scores]))
    return result

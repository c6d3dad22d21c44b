"""How good an artifact is, Keras or `.tflite` alike, and how far one strays from another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.data import Arrays, Split
from tfopt.errors import DataError

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Args:
        name: As written in a recipe and as Keras knows it.
        score: From targets `(samples, ...)` and a model's outputs `(samples, ...)` to one number.
        higher_is_better: The sense of it.
    """

    name: str
    score: Callable[[np.ndarray, np.ndarray], float]
    higher_is_better: bool

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is than `before`; negative if it is better."""
        return before - after if self.higher_is_better else after - before


def _accuracy(y: np.ndarray, outputs: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(_label_classes(y, outputs).ravel(), classes(outputs).ravel()))


def _mae(y: np.ndarray, outputs: np.ndarray) -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(y.reshape(len(y), -1), outputs.reshape(len(outputs), -1)))


def _mse(y: np.ndarray, outputs: np.ndarray) -> float:
    from sklearn.metrics import mean_squared_error

    return float(mean_squared_error(y.reshape(len(y), -1), outputs.reshape(len(outputs), -1)))


METRICS = {
    m.name: m for m in (Metric("accuracy", _accuracy, True), Metric("mae", _mae, False), Metric("mse", _mse, False))
}


# What Keras also calls them.
KERAS_NAMES = {
    "acc": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "binary_accuracy": "accuracy",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
}


def classes(scores: np.ndarray) -> np.ndarray:
    """Class ids `(...)` from scores: the largest of several `(..., classes)`, or one `(..., 1)` above one half."""
    if scores.ndim > 1 and scores.shape[-1] > 1:
        return scores.argmax(axis=-1)
    return (scores > 0.5).astype(int)


def _label_classes(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Class ids from labels that are ids, with or without a last axis of 1, or one-hot as the scores are."""
    several = scores.ndim > 1 and scores.shape[-1] > 1
    if several and labels.shape != scores.shape:
        return labels.reshape(scores.shape[:-1])
    return classes(labels)


def default_metric(loss: str | None) -> Metric:
    """Accuracy where the loss is one of classification, else the mean squared error."""
    classification = loss is not None and any(word in loss for word in ("crossentropy", "hinge", "focal"))
    return METRICS["accuracy" if classification else "mse"]


def keras_outputs(model: Any, x: Arrays) -> dict[str, np.ndarray]:
    """A Keras model's outputs by name, each `(samples, ...)`."""
    from tfopt import models

    outputs = models.named_outputs(model, model.predict(x, batch_size=256, verbose=0))
    return {name: np.asarray(value) for name, value in outputs.items()}


def file_outputs(path: Path, x: Arrays) -> dict[str, np.ndarray]:
    """A `.tflite` file's outputs on LiteRT by name, each `(samples, ...)`, dequantized."""
    from tfopt.litert import Runner

    return Runner(path)(x)


def score(metric: Metric, split: Split, outputs: Outputs) -> float:
    """A metric of outputs on a split; of several outputs the mean over those that have targets.

    Raises:
        DataError: The targets have other names than the outputs.
    """
    if not isinstance(split.y, dict):
        return metric.score(split.y, next(iter(outputs.values())))
    shared = [name for name in outputs if name in split.y]
    if not shared:
        raise DataError(f"the model's outputs are {', '.join(outputs)}, and the targets are {', '.join(split.y)}.")
    return float(np.mean([metric.score(split.y[name], outputs[name]) for name in shared]))


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

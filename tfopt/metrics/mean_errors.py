"""The mean absolute and the mean squared error, over all values of all samples."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.metric import Metric


def mean_absolute_error(y: np.ndarray, outputs: np.ndarray) -> float:
    """The mean of |y - outputs|, both `(samples, ...)` of the same number of values."""
    from sklearn import metrics

    return float(metrics.mean_absolute_error(y.reshape(len(y), -1), outputs.reshape(len(outputs), -1)))


def mean_squared_error(y: np.ndarray, outputs: np.ndarray) -> float:
    """The mean of (y - outputs)^2, both `(samples, ...)` of the same number of values."""
    from sklearn import metrics

    return float(metrics.mean_squared_error(y.reshape(len(y), -1), outputs.reshape(len(outputs), -1)))


def _errors(y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return outputs.reshape(len(outputs), -1).astype(np.float64) - y.reshape(len(y), -1)


MAE = Metric(
    "mae",
    mean_absolute_error,
    higher_is_better=False,
    keras="mae",
    keras_aliases=("mean_absolute_error",),
    each=lambda y, outputs: np.abs(_errors(y, outputs)),
)
MSE = Metric(
    "mse",
    mean_squared_error,
    higher_is_better=False,
    keras="mse",
    keras_aliases=("mean_squared_error",),
    each=lambda y, outputs: np.square(_errors(y, outputs)),
)

"""Accuracy: the fraction of samples whose class is predicted correctly."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.labels import labelled
from tfopt.metrics.metric import Metric


def accuracy(y: np.ndarray, outputs: np.ndarray) -> float:
    """The fraction, 0-1, of labels `(...)` that are the class of the scores `(..., classes)`."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(*labelled(y, outputs)))


def right(y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Whether each class `(values,)` is predicted correctly; arguments as `accuracy` takes them."""
    ids, found = labelled(y, outputs)
    return ids == found


ACCURACY = Metric(
    "accuracy",
    accuracy,
    keras="accuracy",
    of_classes=True,
    keras_aliases=("acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy"),
    of_losses=("crossentropy", "hinge", "focal"),
    each=right,
)

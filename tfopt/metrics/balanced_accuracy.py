"""Balanced accuracy: the mean of the recalls of the classes."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.labels import labelled
from tfopt.metrics.metric import Metric


def balanced_accuracy(y: np.ndarray, outputs: np.ndarray) -> float:
    """The mean, 0-1, of the recalls of the classes that occur in the labels."""
    from sklearn.metrics import recall_score

    ids, found = labelled(y, outputs)
    return float(recall_score(ids, found, labels=np.unique(ids), average="macro", zero_division=0))


BALANCED_ACCURACY = Metric("balanced_accuracy", balanced_accuracy, of_classes=True)

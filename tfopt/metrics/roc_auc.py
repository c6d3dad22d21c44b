"""The area under the ROC curve."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.labels import labelled
from tfopt.metrics.metric import Metric


def roc_auc(y: np.ndarray, outputs: np.ndarray) -> float:
    """The area, 0-1, under the ROC curve; of several classes the mean over each one against the rest.

    Args:
        y: Labels, as `labelled` takes them.
        outputs: Probabilities or logits `(..., classes)`, or one score of class 1.

    Raises:
        ValueError: The labels are all of one class.

    References:
        Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27 (2006).
    """
    from sklearn.metrics import roc_auc_score

    ids, _ = labelled(y, outputs)
    scores = outputs.reshape(len(ids), -1)
    there = np.unique(ids)
    if len(there) < 2:
        raise ValueError(f"roc_auc needs labels of two classes at least, and all of them are of class {there[0]}")
    if scores.shape[1] == 1:
        return float(roc_auc_score(ids, scores[:, 0]))
    return float(np.mean([roc_auc_score(ids == label, scores[:, label]) for label in there]))


def _of_labels(y: np.ndarray, outputs: np.ndarray) -> float:
    """The mean over the classes that some samples have and others have not."""
    mixed = [k for k in range(y.shape[1]) if 0 < y[:, k].mean() < 1]
    if not mixed:
        raise ValueError("roc_auc needs a class that some samples have and others have not")
    return float(np.mean([roc_auc(y[:, k], outputs[:, k]) for k in mixed]))


ROC_AUC = Metric("roc_auc", roc_auc, of_classes=True, of_labels=_of_labels, by_order=True)

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
        raise ValueError("roc_auc needs labels of two classes at least")
    if scores.shape[1] == 1:
        return float(roc_auc_score(ids, scores[:, 0]))
    return float(np.mean([roc_auc_score(ids == label, scores[:, label]) for label in there]))


ROC_AUC = Metric("roc_auc", roc_auc, of_classes=True)

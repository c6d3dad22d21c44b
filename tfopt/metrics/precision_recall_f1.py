"""Precision, recall and F1: of class 1 where a model has one score, else averaged over the classes."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.labels import labelled
from tfopt.metrics.metric import Metric, Score


def _averaged(name: str, average: str | None) -> Score:
    """scikit-learn's score of that name; without an average that of class 1, or the mean over several classes."""

    def score(y: np.ndarray, outputs: np.ndarray) -> float:
        from sklearn import metrics

        one = outputs.ndim < 2 or outputs.shape[-1] == 1
        how = average or ("binary" if one else "macro")
        return float(getattr(metrics, f"{name}_score")(*labelled(y, outputs), average=how, zero_division=0))

    return score


PRECISION = Metric("precision", _averaged("precision", None), of_classes=True)
PRECISION_MACRO = Metric("precision_macro", _averaged("precision", "macro"), of_classes=True)
PRECISION_MICRO = Metric("precision_micro", _averaged("precision", "micro"), of_classes=True)
PRECISION_WEIGHTED = Metric("precision_weighted", _averaged("precision", "weighted"), of_classes=True)
RECALL = Metric("recall", _averaged("recall", None), of_classes=True)
RECALL_MACRO = Metric("recall_macro", _averaged("recall", "macro"), of_classes=True)
RECALL_MICRO = Metric("recall_micro", _averaged("recall", "micro"), of_classes=True)
RECALL_WEIGHTED = Metric("recall_weighted", _averaged("recall", "weighted"), of_classes=True)
F1 = Metric("f1", _averaged("f1", None), of_classes=True)
F1_MACRO = Metric("f1_macro", _averaged("f1", "macro"), of_classes=True)
F1_MICRO = Metric("f1_micro", _averaged("f1", "micro"), of_classes=True)
F1_WEIGHTED = Metric("f1_weighted", _averaged("f1", "weighted"), of_classes=True)

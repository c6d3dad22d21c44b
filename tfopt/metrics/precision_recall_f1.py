"""Precision, recall and F1: of class 1 where a model has one score, else averaged over the classes."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.labels import labelled
from tfopt.metrics.metric import Metric, Score

_SCORES = {
    "precision": "Of the samples that are given a class, the fraction that is of it",
    "recall": "Of the samples of a class, the fraction that is given it",
    "f1": "The harmonic mean of precision and recall",
}
_AVERAGES = {
    None: "of class 1 where a model has one score, else the mean over the classes",
    "macro": "the mean over the classes, each counting the same",
    "micro": "of all classes counted together",
    "weighted": "the mean over the classes, each counting as its samples do",
}


def _metric(name: str, average: str | None = None) -> Metric:
    """The metric of scikit-learn's score `name`."""
    return Metric(
        f"{name}_{average}" if average else name,
        _averaged(name, average),
        of_classes=True,
        of_labels=_of_labels(name, average),
        about=f"{_SCORES[name]}: {_AVERAGES[average]}.",
    )


def _of_labels(name: str, average: str | None) -> Score:
    """scikit-learn's score of several labels a sample, over the classes as the average says, else their mean."""

    def score(y: np.ndarray, outputs: np.ndarray) -> float:
        from sklearn import metrics

        truth, found = y > 0.5, outputs > 0.5
        return float(getattr(metrics, f"{name}_score")(truth, found, average=average or "macro", zero_division=0))

    return score


def _averaged(name: str, average: str | None) -> Score:
    """scikit-learn's score of that name; without an average that of class 1, or the mean over several classes."""

    def score(y: np.ndarray, outputs: np.ndarray) -> float:
        from sklearn import metrics

        one = outputs.ndim < 2 or outputs.shape[-1] == 1
        how = average or ("binary" if one else "macro")
        return float(getattr(metrics, f"{name}_score")(*labelled(y, outputs), average=how, zero_division=0))

    return score


PRECISION = _metric("precision")
PRECISION_MACRO = _metric("precision", "macro")
PRECISION_MICRO = _metric("precision", "micro")
PRECISION_WEIGHTED = _metric("precision", "weighted")
RECALL = _metric("recall")
RECALL_MACRO = _metric("recall", "macro")
RECALL_MICRO = _metric("recall", "micro")
RECALL_WEIGHTED = _metric("recall", "weighted")
F1 = _metric("f1")
F1_MACRO = _metric("f1", "macro")
F1_MICRO = _metric("f1", "micro")
F1_WEIGHTED = _metric("f1", "weighted")

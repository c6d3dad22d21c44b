"""Class ids from labels and scores in any of their forms, and scores of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfopt.metrics.decision import Decision


def classes(scores: np.ndarray) -> np.ndarray:
    """Class ids `(...)` from scores: the largest of several `(..., classes)`, or one `(..., 1)` above one half."""
    if scores.ndim > 1 and scores.shape[-1] > 1:
        return scores.argmax(axis=-1)
    return (scores > 0.5).astype(int)


def same_share(same: Sequence[np.ndarray]) -> float:
    """The fraction of samples whose class is the same in every output; of an only output, the fraction of its values.

    Args:
        same: For each output whether the class of each value `(samples, ...)` is the same.
    """
    if len(same) == 1:
        return float(same[0].mean())
    return float(np.logical_and.reduce([one.reshape(len(one), -1).all(axis=1) for one in same]).mean())


def labelled(y: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class ids `(values,)` of the labels and of the outputs.

    Args:
        y: Labels: class ids `(...)` or `(..., 1)`, or one-hot `(..., classes)`.
        outputs: Scores `(..., classes)`, or one score `(...)` or `(..., 1)` of class 1.

    Raises:
        ValueError: One-hot labels with several classes or none in a sample.
    """
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    if several and y.shape == outputs.shape and not np.allclose(y.sum(axis=-1), 1, atol=1e-3):
        raise ValueError("some samples have several classes or none, and metrics of classes take one a sample")
    ids = y.reshape(outputs.shape[:-1]) if several and y.shape != outputs.shape else classes(y)
    return ids.ravel().astype(np.int64), classes(outputs).ravel()


def by_class(y: np.ndarray, outputs: np.ndarray, decision: Decision | None = None) -> dict[str, Any]:
    """Precision, recall, F1 and support of every class, and the confusion matrix.

    Args:
        y: Labels, as `labelled` takes them.
        outputs: Scores, as `labelled` takes them.
        decision: How the scores decide, where it is not the usual way.

    Returns:
        `classes`: ids; `precision`, `recall`, `f1`, `support`: one value per class; `confusion`: counts by true and
        predicted class, none where a sample has any number of classes.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    outputs = decision.probabilities(outputs) if decision else outputs
    if decision and decision.multilabel:
        there = np.arange(outputs.shape[-1])
        truth, taken = (array.reshape(-1, len(there)) > 0.5 for array in (y, outputs))
        values = precision_recall_fscore_support(truth, taken, labels=there, zero_division=0)
        named = dict(zip(("precision", "recall", "f1", "support"), (v.tolist() for v in values), strict=True))
        return {"classes": there.tolist(), **named, "confusion": []}
    ids, found = labelled(y, outputs)
    there = np.union1d(ids, found)
    values = precision_recall_fscore_support(ids, found, labels=there, zero_division=0)
    named = dict(zip(("precision", "recall", "f1", "support"), (v.tolist() for v in values), strict=True))
    return {"classes": there.tolist(), **named, "confusion": confusion_matrix(ids, found, labels=there).tolist()}

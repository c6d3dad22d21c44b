"""Labels: which output they are of, their class ids, and the weights that make all classes count the same."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tfopt.data.arrays import Arrays
from tfopt.errors import DataError


def check_named(y: Arrays, outputs: Collection[str], what: str = "y") -> None:
    """Checks that the labels of a model with several outputs say which of them they are of.

    Args:
        y: Labels `(samples, ...)`, or a dict of such by output.
        outputs: The names of the model's outputs.
        what: The name of the labels in the error, such as `y_test`.

    Raises:
        DataError: One array, and several outputs.
    """
    if not isinstance(y, dict) and len(outputs) > 1:
        raise DataError(
            f"the model has the outputs {', '.join(outputs)}: give {what} as a dict by these names.", ("data",)
        )


def label_ids(y: Arrays) -> np.ndarray:
    """Class ids, `(samples,)` int64, of labels that are ids or one-hot.

    Raises:
        DataError: The labels are of several outputs, or are no classes.
    """
    if isinstance(y, dict):
        raise DataError(
            f"classes are weighed by the labels of one output, and these are of {', '.join(y)}. Weigh them in the "
            "losses.",
            ("data",),
        )
    if y.ndim == 2 and y.shape[1] > 1 and np.array_equal(np.unique(y), [0, 1]) and (y.sum(axis=1) == 1).all():
        return np.asarray(y.argmax(axis=1))
    ids = y.reshape(len(y), -1)
    if ids.shape[1] != 1 or (ids % 1 != 0).any():
        raise DataError(
            f"classes are weighed by class ids, one a sample, or one-hot labels. Received: shape {y.shape}, {y.dtype}.",
            ("data",),
        )
    return np.asarray(ids[:, 0].astype(np.int64))


def balanced_weights(y: Arrays) -> dict[int, float]:
    """The weight by class id that makes all classes count the same: samples / (classes * samples of the class).

    References:
        King, Zeng, Logistic regression in rare events data, Political Analysis 9 (2001); as in scikit-learn.
    """
    from sklearn.utils.class_weight import compute_class_weight

    ids = label_ids(y)
    classes = np.unique(ids)
    return dict(zip(classes.tolist(), compute_class_weight("balanced", classes=classes, y=ids).tolist(), strict=True))


def with_every_class(y: Arrays, order: np.ndarray, count: int) -> np.ndarray:
    """The first `count` samples of an order, with one of each class that would be missing in the place of others.

    It is the last of the class with the most samples that makes room. Labels that are no classes, or are of more
    classes than `count`, change nothing.

    Args:
        y: Labels of all samples.
        order: Indices of the samples in a random order, `(samples,)`.
        count: Number of samples to choose.

    Returns:
        Indices, `(min(count, samples),)`.
    """
    chosen = order[:count].copy()
    try:
        ids = label_ids(y)
    except DataError:
        return chosen
    classes, firsts = np.unique(ids[order], return_index=True)
    if len(classes) > len(chosen):
        return chosen
    for first in np.sort(firsts[~np.isin(classes, ids[chosen])]):
        values, counts = np.unique(ids[chosen], return_counts=True)
        largest = values[counts.argmax()]
        chosen[np.flatnonzero(ids[chosen] == largest)[-1]] = order[first]
    return chosen

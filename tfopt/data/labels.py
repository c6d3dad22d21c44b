"""The classes of labels: their ids, and the weights that make all classes count the same."""

from __future__ import annotations

import numpy as np

from tfopt.data.arrays import Arrays
from tfopt.errors import DataError


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

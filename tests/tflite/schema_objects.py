"""Comparison of parsed files."""

import numpy as np


def same(one, other):
    """Whether two schema objects hold the same, all the way down."""
    if hasattr(one, "__dict__") and hasattr(other, "__dict__"):
        mine, theirs = vars(one), vars(other)
        return mine.keys() == theirs.keys() and all(same(mine[name], theirs[name]) for name in mine)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return one == other

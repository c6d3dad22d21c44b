"""`minmax`: from the smallest to the largest calibrated value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfopt.recipe.modes import RangeMethod

if TYPE_CHECKING:
    import numpy as np


def _ends(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return low.min(axis=0), high.max(axis=0)


MINMAX = RangeMethod(name="minmax", about="all that was seen", ends=_ends, rank=10)

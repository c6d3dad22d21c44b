"""`percentile`: from the 1st percentile of the samples' smallest values to the 99th of their largest.

Single outlying samples therefore do not widen a range.
"""

from __future__ import annotations

import numpy as np

from tfopt.recipe.modes import RangeMethod

# Percentile of the samples' extremes that the range reaches.
ORDINARY = 99.0


def _ends(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Never between two samples: of fewer than a hundred, the one that stands out would still pull.
    return (
        np.percentile(low, 100 - ORDINARY, axis=0, method="higher"),
        np.percentile(high, ORDINARY, axis=0, method="lower"),
    )


PERCENTILE = RangeMethod(name="percentile", about="without the samples that stand out", ends=_ends, fewest=20, rank=20)

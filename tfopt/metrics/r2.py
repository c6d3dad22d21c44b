"""R squared, the coefficient of determination."""

from __future__ import annotations

import numpy as np

from tfopt.metrics.metric import Metric


def r2(y: np.ndarray, outputs: np.ndarray) -> float:
    """The fraction of the variance of the targets that the outputs explain, 1 at best: the mean over the values.

    Args:
        y: Targets `(samples, ...)`.
        outputs: Outputs `(samples, ...)` of the same number of values.
    """
    from sklearn.metrics import r2_score

    return float(r2_score(y.reshape(len(y), -1), outputs.reshape(len(outputs), -1)))


R2 = Metric("r2", r2)

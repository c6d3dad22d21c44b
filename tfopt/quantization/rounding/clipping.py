"""Scales of kernels that clip the largest weights where that makes the error of all of them smaller."""

from __future__ import annotations

import numpy as np

# Ends of the range that are tried, as shares of the largest weight.
SHARES = np.linspace(0.3, 1.15, 86)


def least_error_scales(weights: np.ndarray, largest: np.ndarray, least: np.ndarray, low: int, high: int) -> np.ndarray:
    """The scales of the least squared error of the weights, of a grid of shares of the given ones.

    Args:
        weights: Weights `(groups, channels, columns)`.
        largest: Scales at which no weight is clipped, `(groups, channels, 1)`.
        least: The least scales that are allowed, of the same shape.
        low: The smallest integer.
        high: The largest integer.

    Returns:
        Scales `(groups, channels, 1)`; the given ones where a channel is all zeros.
    """
    best, error = largest.copy(), np.full(largest.shape, np.inf)
    for share in SHARES:
        scales = np.maximum(largest * share, least)
        rounded = np.clip(np.rint(weights / scales), low, high) * scales
        now = np.square(rounded - weights).sum(-1, keepdims=True)
        better = now < error
        best, error = np.where(better, scales, best), np.where(better, now, error)
    return np.where((weights != 0).any(-1, keepdims=True), best, largest)

"""Magnitude thresholds and masks, of one kernel or several ranked together: TF-MOT's rule in NumPy, without a sort.

TF-MOT keeps every weight whose magnitude reaches that of the k-th largest, with `k = max(round(n * (1 - s)), 1)` in
float32 for n weights and sparsity s (`pruning_impl.Pruning._update_mask`). The k-th largest needs a selection, which
is linear in n, and not the sort that TF-MOT makes; the values that come out are the same, ties included.

References:
    Zhu and Gupta, To prune, or not to prune, arXiv:1710.01878.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfopt.sparsity.allocations import Allocation


def kept_count(size: int, sparsity: float) -> int:
    """How many of `size` weights stay at a sparsity of 0-1: TF-MOT's rounding, half to even, in float32."""
    share = np.float32(1) - np.float32(sparsity)
    return max(int(np.round(np.float32(size) * share)), 1)


def magnitude_threshold(weights: np.ndarray, sparsity: float) -> float:
    """The magnitude of the smallest weight that stays.

    Args:
        weights: A kernel of any shape and float type.
        sparsity: The fraction to set to zero, 0-1.
    """
    magnitude = np.abs(np.asarray(weights)).ravel()
    if magnitude.dtype.itemsize < 4:  # bfloat16 and float16 are exact in float32, where selection is fast
        magnitude = magnitude.astype(np.float32)
    count = kept_count(magnitude.size, sparsity)
    if np.count_nonzero(magnitude) < magnitude.size:  # selection slows down on many equal values, as zeros are
        magnitude = np.compress(magnitude > 0, magnitude)
    if count > magnitude.size:
        return 0.0
    threshold = float(np.partition(magnitude, magnitude.size - count)[magnitude.size - count])
    return threshold if threshold >= np.finfo(magnitude.dtype).tiny else 0.0  # TensorFlow flushes subnormals to zero


def shared_thresholds(scores: Sequence[np.ndarray], sparsity: float, allocation: Allocation) -> list[float]:
    """The score threshold of each kernel, where kernels are ranked together.

    Every kernel keeps at least its unit of largest score.

    Args:
        scores: Scores of each kernel's units, any shape, not negative.
        sparsity: Fraction of zeros over all kernels together, 0-1.
        allocation: An allocation that ranks kernels together.
    """
    flat = [np.abs(array).ravel().astype(np.float32, copy=False) for array in scores]
    if allocation.rank_scores is None:
        shared = magnitude_threshold(np.concatenate(flat), sparsity)
        return [min(shared, float(array.max())) for array in flat]
    ordered = [np.sort(array[array > 0]) for array in flat]
    ranks = [allocation.rank_scores(array) for array in ordered]
    together = np.concatenate(ranks)
    count = kept_count(sum(array.size for array in flat), sparsity)
    if count > together.size:
        return [0.0] * len(flat)
    least = np.partition(together, together.size - count)[together.size - count]
    first = [min(int(np.searchsorted(rank, least)), rank.size - 1) for rank in ranks]
    return [float(array[index]) if array.size else 0.0 for array, index in zip(ordered, first, strict=True)]


def magnitude_mask(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """The mask TF-MOT gives these weights: True where a weight stays.

    Weights as large as the smallest one kept are kept too, so ties can leave fewer zeros than asked for.

    Args:
        weights: A kernel of any shape and float type.
        sparsity: The fraction to set to zero, 0-1.

    Returns:
        A boolean array of the kernel's shape.
    """
    return np.abs(np.asarray(weights)) >= magnitude_threshold(weights, sparsity)


def sparsity_of(weights: Any) -> float:
    """The fraction of exact zeros in an array, 0-1; 0 for an empty one."""
    array = np.asarray(weights)
    return float(1 - np.count_nonzero(array) / array.size) if array.size else 0.0


def kernel_sparsity(model: Any) -> float:
    """The fraction of exact zeros in all trainable weights of two axes or more, 0-1."""
    kernels = [np.asarray(weight) for weight in model.trainable_weights if len(weight.shape) > 1]
    return float(1 - sum(map(np.count_nonzero, kernels)) / sum(kernel.size for kernel in kernels))

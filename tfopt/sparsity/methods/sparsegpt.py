"""`sparsegpt`: the weights that matter least to a layer's outputs go, and those that stay make up for them.

References:
    Frantar and Alistarh, SparseGPT: massive language models can be accurately pruned in one-shot, arXiv:2301.00774.
    Hassibi and Stork, Second order derivatives for network pruning: optimal brain surgeon, NIPS 1992.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfopt.sparsity.least_squares import LayerProblem, refitted
from tfopt.sparsity.magnitude import kept_count
from tfopt.sparsity.methods import PruningMethod

# Inputs whose weights are chosen together: few adapt better to what is pruned already, many share the zeros out better.
LOT = 128
# Multiplications up to which the weights that stay are solved for once more, for each output: some seconds.
MOST_WORK = 1e11


def _prune(problem: LayerProblem, pattern: Any, sparsity: float) -> np.ndarray:
    """The pruned weights `(inputs, outputs)`: those that surgery leaves, at their best values where that is quick."""
    pruned = surgery(problem, pattern, sparsity)
    work = float(np.sum(np.count_nonzero(pruned, axis=0) ** 3.0)) / 3
    return refitted(problem, pruned != 0) if work < MOST_WORK else pruned


def surgery(problem: LayerProblem, pattern: Any, sparsity: float) -> np.ndarray:
    """Weights `(inputs, outputs)` that are pruned input by input, with the pattern and sparsity that are asked for.

    Input by input, what pruning its weights takes from the outputs is put on the inputs that are still to come, by the
    rows of the Cholesky factor of the inverse Hessian, each of which belongs to the inputs from there on. Inputs that
    say most come first, where the pattern has no groups of neighbours.
    """
    from tfopt.sparsity.patterns import Unstructured

    hessian, count = problem.hessian, len(problem.hessian)
    order = np.argsort(-np.diag(hessian), kind="stable") if isinstance(pattern, Unstructured) else np.arange(count)
    factor = np.linalg.cholesky(np.linalg.inv(hessian[np.ix_(order, order)])).T
    weights = problem.target[order].copy()
    for start, stop in _lots(pattern, count, problem.run):
        lot, upper = weights[start:stop], factor[start:stop, start:stop]
        keep = _mask(pattern, (lot / np.diag(upper)[:, None]) ** 2, sparsity)
        errors = np.empty_like(lot)
        for row in range(stop - start):
            errors[row] = np.where(keep[row], 0.0, lot[row]) / upper[row, row]
            lot[row:] -= np.outer(upper[row, row:], errors[row])
            lot[row] *= keep[row]
        weights[stop:] -= factor[start:stop, stop:].T @ errors
    pruned = np.empty_like(weights)
    pruned[order] = weights
    return pruned


def _lots(pattern: Any, count: int, run: int) -> Iterator[tuple[int, int]]:
    """The first and last (not included) input of those whose weights are chosen together."""
    from tfopt.sparsity.patterns import Blocks, NOfM

    if isinstance(pattern, NOfM):
        starts = [start for first in range(0, count, run) for start in range(first, first + run, pattern.of)]
        yield from ((start, min(start + pattern.of, start // run * run + run)) for start in starts)
        return
    high = pattern.height if isinstance(pattern, Blocks) else 1
    size = max(LOT // high, 1) * high
    yield from ((start, min(start + size, count)) for start in range(0, count, size))


def _mask(pattern: Any, saliency: np.ndarray, sparsity: float) -> np.ndarray:
    """A boolean mask `(inputs, outputs)` of a lot: True for the weights of the largest saliency."""
    from tfopt.sparsity.patterns import Blocks, NOfM

    if isinstance(pattern, NOfM):  # what is left over at the end of a row is filled up with zeros, which go first
        ranks = np.argsort(np.argsort(-saliency, axis=0, kind="stable"), axis=0)
        return ranks < pattern.keep
    if not isinstance(pattern, Blocks):
        return _largest(saliency, sparsity)
    rows, columns = (
        -(-size // unit) for size, unit in zip(saliency.shape, (pattern.height, pattern.width), strict=True)
    )
    whole = np.full((rows * pattern.height, columns * pattern.width), np.nan)
    whole[: saliency.shape[0], : saliency.shape[1]] = saliency
    units = whole.reshape(rows, pattern.height, columns, pattern.width)
    pooled = (np.nanmean if pattern.pooling == "average" else np.nanmax)(units, axis=(1, 3))
    keep = _largest(pooled, sparsity).repeat(pattern.height, axis=0).repeat(pattern.width, axis=1)
    return keep[: saliency.shape[0], : saliency.shape[1]]


def _largest(scores: np.ndarray, sparsity: float) -> np.ndarray:
    """A mask of the largest scores, as many as stay at a sparsity."""
    keep = np.zeros(scores.size, bool)
    keep[np.argsort(-scores, axis=None, kind="stable")[: kept_count(scores.size, sparsity)]] = True
    return keep.reshape(scores.shape)


SPARSEGPT = PruningMethod(
    "sparsegpt",
    "Once, on samples without labels: the weights that matter least to a layer's outputs go, and those that stay make "
    "up for them (SparseGPT).",
    _prune,
    rank=2,
)

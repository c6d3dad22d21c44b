"""`gptq`: column by column, the error of each handed on to the columns that are still real numbers."""

from __future__ import annotations

import numpy as np

from tfopt.quantization.rounding.problem import KernelProblem
from tfopt.quantization.rounding.work import CALL
from tfopt.recipe.modes import Rounding

# Columns that are rounded before the rest of the kernel is corrected for all of them at once.
BLOCK = 128


def gptq(problem: KernelProblem) -> np.ndarray:
    """The integers that GPTQ chooses, the columns of the largest second moment first.

    Returns:
        Integers `(groups, channels, columns)`.

    References:
        Frantar et al., GPTQ: accurate post-training quantization for generative pre-trained transformers,
        arXiv:2210.17323; here around the means and towards the outputs of the float net (arXiv:2504.02692).
    """
    found = np.empty_like(problem.weights)
    for group in range(len(found)):
        order = np.argsort(-np.diag(problem.gram[group]), kind="stable")
        inverse = np.linalg.inv(problem.gram[group][np.ix_(order, order)])
        upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
        columns = problem.target[group][:, order].copy()
        free = problem.free[group][:, order]
        found[group][:, order] = _round_columns(columns, free, upper, problem.scales[group], problem)
    return found


def _round_columns(
    weights: np.ndarray, free: np.ndarray, upper: np.ndarray, scales: np.ndarray, problem: KernelProblem
) -> np.ndarray:
    """Rounds the columns of one group in order; the weights are changed in place."""
    integers = np.zeros_like(weights)
    size = weights.shape[1]
    for start in range(0, size, BLOCK):
        end = min(start + BLOCK, size)
        errors = np.empty((len(weights), end - start))
        for j in range(start, end):
            rounded = np.clip(np.rint(weights[:, j] / scales[:, 0]), problem.low, problem.high)
            integers[:, j] = np.where(free[:, j], rounded, 0.0)
            error = (weights[:, j] - integers[:, j] * scales[:, 0]) / upper[j, j]
            weights[:, j + 1 : end] -= error[:, None] * upper[j, j + 1 : end]
            errors[:, j - start] = error
        weights[:, end:] -= errors @ upper[start:end, end:]
    return integers


def work(groups: int, channels: int, columns: int) -> float:
    """An inverse and its root, and for each column the correction of those behind it."""
    return groups * (12 * columns**3 + channels * columns**2 + 12 * CALL * columns)


GPTQ = Rounding(
    name="gptq",
    about="column by column, each error handed on to the next columns (GPTQ)",
    choose=gptq,
    work=work,
    rank=20,
)

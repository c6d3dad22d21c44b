"""`descent`: from given integers, one column after the other to the best integer given all others."""

from __future__ import annotations

import numpy as np

from tfopt.quantization.rounding.methods.gptq import gptq
from tfopt.quantization.rounding.methods.gptq import work as gptq_work
from tfopt.quantization.rounding.problem import KernelProblem
from tfopt.quantization.rounding.work import CALL, PASS
from tfopt.recipe.modes import Rounding

SWEEPS = 10


def descent(problem: KernelProblem) -> np.ndarray:
    """The integers of cyclic coordinate descent on the grid; no step makes the error larger.

    It begins at the nearest integers and at those of GPTQ, and each channel takes the better end.

    Returns:
        Integers `(groups, channels, columns)`.

    References:
        Behdin et al., QuantEase: optimization-based quantization for language models, arXiv:2309.01885.
    """
    ends = [_descended(start, problem) for start in (problem.nearest(problem.target), gptq(problem))]
    errors = [problem.target - end * problem.scales for end in ends]
    first, second = (((error @ problem.gram) * error).sum(-1, keepdims=True) for error in errors)
    return np.where(first <= second, ends[0], ends[1])


def _descended(found: np.ndarray, problem: KernelProblem) -> np.ndarray:
    """Integers that no change of one of them makes better, or as far as the sweeps go; changed in place."""
    for group, integers in enumerate(found):
        gram, scales = problem.gram[group], problem.scales[group][:, 0]
        slope = (problem.target[group] - integers * problem.scales[group]) @ gram
        for _ in range(SWEEPS):
            if not _sweep(integers, slope, gram, scales, problem.free[group], problem):
                break
    return found


def _sweep(
    integers: np.ndarray,
    slope: np.ndarray,
    gram: np.ndarray,
    scales: np.ndarray,
    free: np.ndarray,
    problem: KernelProblem,
) -> bool:
    """One pass over the columns, in place; returns whether some integer has moved.

    Args:
        integers: The integers `(channels, columns)`.
        slope: The error of the weights times the Gram matrix, `(channels, columns)`, kept up to date.
        gram: The Gram matrix `(columns, columns)`.
        scales: Scale of each channel `(channels,)`.
        free: Which weights may be anything but zero.
        problem: The limits of the integers.
    """
    moved = False
    for j in range(integers.shape[1]):
        best = integers[:, j] + slope[:, j] / (gram[j, j] * scales)
        step = np.where(free[:, j], np.clip(np.rint(best), problem.low, problem.high) - integers[:, j], 0.0)
        rows = np.flatnonzero(step)
        if rows.size:
            integers[rows, j] += step[rows]
            slope[rows] -= (step[rows] * scales[rows])[:, None] * gram[j]
            moved = True
    return moved


def _work(groups: int, channels: int, columns: int) -> float:
    """GPTQ, and two descents that end before half of their sweeps as a rule."""
    sweep = columns * (12 * CALL + 3 * PASS * channels * columns)
    return gptq_work(groups, channels, columns) + groups * SWEEPS / 2 * sweep


DESCENT = Rounding(
    name="descent",
    about="one column after the other to the best integer given all others",
    choose=descent,
    work=_work,
    rank=30,
)

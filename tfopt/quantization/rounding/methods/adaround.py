"""`adaround`: whether each weight goes up or down is learned on the outputs of its op, after the activation."""

from __future__ import annotations

import numpy as np

from tfopt.quantization.rounding.problem import KernelProblem, Rows
from tfopt.quantization.rounding.work import CALL, PASS, gathered, multiplied
from tfopt.recipe.modes import Rounding

STEPS, BATCH, RATE = 300, 512, 1e-2
# The rectified sigmoid reaches from -0.1 to 1.1 and is cut to 0-1, so that it can arrive at both.
STRETCH, SHIFT = 1.2, -0.1
# Weight of the pull to 0 and 1, its exponent at the beginning and at the end, and the share of steps without it.
PULL, FIRST, LAST, FREE_STEPS = 0.01, 20.0, 2.0, 0.2


def adaround(problem: KernelProblem) -> np.ndarray:
    """The integers of AdaRound, by Adam on batches of rows.

    Returns:
        Integers `(groups, channels, columns)`: those below or above each weight.

    References:
        Nagel et al., Up or down? Adaptive rounding for post-training quantization, arXiv:2004.10568.
    """
    if problem.rows is None:
        raise ValueError("adaround learns on rows. Received: rows=None")
    scaled = problem.weights / problem.scales
    below = np.floor(scaled)
    share = np.clip(scaled - below, 0.01, 0.99)
    logits = -np.log(STRETCH / (share - SHIFT) - 1).astype(np.float32)
    _learn(logits, below.astype(np.float32), problem, problem.rows)
    return np.where(problem.free, np.clip(below + (logits >= 0), problem.low, problem.high), 0.0)


def _learn(logits: np.ndarray, below: np.ndarray, problem: KernelProblem, rows: Rows) -> None:
    """Adam on the logits, in place.

    Args:
        logits: What decides on up or down, `(groups, channels, columns)`.
        below: The integers below the weights, of the same shape.
        problem: The grid.
        rows: What to learn on.
    """
    draw, count = np.random.default_rng(problem.seed), rows.inputs.shape[1]
    steps = max(round(STEPS * problem.share), 1)
    scales, free = problem.scales.astype(np.float32), problem.free
    energy = float(np.mean(np.square(np.clip(rows.outputs, *rows.bounds)).sum(-1)))
    norm = np.float32(rows.outputs.shape[-1] / max(energy, 1e-9))
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(1, steps + 1):
        chosen = draw.integers(count, size=min(BATCH, count))
        gate = 1 / (1 + np.exp(-logits))
        share = np.clip(STRETCH * gate + SHIFT, 0, 1)
        inside = (share > 0) & (share < 1) & free
        integers = below + share
        open_ = (integers >= problem.low) & (integers <= problem.high)
        weights = np.where(free, scales * np.clip(integers, problem.low, problem.high), 0)
        slope = _slope_of_outputs(weights, rows, chosen) * (norm / len(chosen)) * scales * open_
        slope += _slope_of_pull(share, step / steps)
        slope *= inside * (STRETCH * gate * (1 - gate))
        first += 0.1 * (slope - first)
        second += 0.001 * (slope * slope - second)
        logits -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)


def _slope_of_outputs(weights: np.ndarray, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """The gradient of the summed squared error of the outputs after the activation for the weights."""
    low, high = rows.bounds
    inputs = rows.inputs[:, chosen]
    outputs = inputs @ weights.transpose(0, 2, 1) + rows.bias
    error = np.clip(outputs, low, high) - np.clip(rows.outputs[:, chosen], low, high)
    error *= (outputs > low) & (outputs < high)
    return 2 * error.transpose(0, 2, 1) @ inputs


def _slope_of_pull(share: np.ndarray, done: float) -> np.ndarray | float:
    """The gradient of the pull of each share to 0 or 1, which sharpens as the steps go on."""
    if done < FREE_STEPS:
        return 0.0
    power = LAST + (FIRST - LAST) * (1 - (done - FREE_STEPS) / (1 - FREE_STEPS))
    away = 2 * share - 1
    return -PULL * 2 * power * np.abs(away) ** (power - 1) * np.sign(away)


def _work(groups: int, channels: int, columns: int) -> float:
    """In each step a batch is gathered and multiplied twice, and the weights are passed over some forty times."""
    weights, rows = groups * channels * columns, BATCH * groups * (channels + columns)
    step = (2 * BATCH * multiplied(groups) + 40 * PASS) * weights + gathered(groups) * rows + 40 * CALL
    return STEPS * step


ADAROUND = Rounding(
    name="adaround",
    about="up or down is learned on the outputs of each op (AdaRound)",
    choose=adaround,
    rows=True,
    work=_work,
    least_share=0.3,
    rank=40,
)

"""The integers of one kernel as a least-squares problem on its grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Share of the mean diagonal of the Gram matrix that is added to it, so that it can be inverted.
DAMPING = 0.01


@dataclass(frozen=True)
class Rows:
    """What an op has seen, row by row, for roundings that learn on it.

    Args:
        inputs: Inputs of the quantized net `(groups, count, columns)`, less their mean.
        outputs: What the float op gives for the rows of the float net before its activation,
            `(groups, count, channels)`.
        bias: The float bias, at which centred inputs give the mean of the outputs, `(groups, 1, channels)`.
        bounds: The least and the largest value that the activation lets through.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    bias: np.ndarray
    bounds: tuple[float, float]


@dataclass(frozen=True)
class Moments:
    """Second moments of an op's inputs around their means, which count as 0 where no bias takes up their difference.

    Args:
        gram: Of the quantized net's inputs `(groups, columns, columns)`.
        cross: Of the float net's with the quantized one's, of the same shape.
        mean_float: Means of the float net's inputs `(groups, columns)`.
        mean_quantized: Means of the quantized net's inputs `(groups, columns)`.
    """

    gram: np.ndarray
    cross: np.ndarray
    mean_float: np.ndarray
    mean_quantized: np.ndarray


@dataclass(frozen=True)
class KernelProblem:
    """The integers `q` that bring `scale * q` times the quantized inputs closest to the float outputs.

    Groups are parts of a kernel with inputs of their own: one for a dense layer or a convolution, one for each channel
    of a depthwise convolution.

    Args:
        weights: The float weights `(groups, channels, columns)`; an exact zero stays one.
        scales: Scales `(groups, channels, 1)`.
        low: The smallest integer.
        high: The largest integer.
        gram: Damped second moments of the inputs `(groups, columns, columns)`.
        target: The real weights that come closest, `(groups, channels, columns)`.
        rows: What was seen, row by row, where a rounding asks for it.
        seed: Seed of roundings that draw rows.
        share: The share of its steps that a rounding takes which learns in steps, 0-1.
    """

    weights: np.ndarray
    scales: np.ndarray
    low: int
    high: int
    gram: np.ndarray
    target: np.ndarray
    rows: Rows | None = field(default=None, repr=False)
    seed: int = 0
    share: float = 1.0

    @property
    def free(self) -> np.ndarray:
        """Which weights may be anything but zero."""
        return self.weights != 0

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """The nearest integers of some values, those of zero weights zero, `(groups, channels, columns)`."""
        return np.where(self.free, np.clip(np.rint(values / self.scales), self.low, self.high), 0.0)

    def loss(self, integers: np.ndarray) -> float:
        """The squared error of the outputs around their means, up to a constant."""
        error = self.target - integers * self.scales
        return float(np.einsum("gij,gjk,gik->", error, self.gram, error))


def least_squares(weights: np.ndarray, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The real weights that, given quantized inputs, come closest to the float outputs, and the damped Gram matrices.

    With `G = E[xq xq'] - mq mq'`, `C = E[xf xq'] - mf mq'` and damping `l` they are `(W C + l W) (G + l I)^-1`; the
    difference of the means is the bias's.

    Args:
        weights: `(groups, channels, columns)`.
        moments: Moments of the inputs.

    References:
        The asymmetric target as in Li et al., GPTAQ: efficient finetuning-free quantization for asymmetric calibration,
        arXiv:2504.02692.
    """
    size = moments.gram.shape[-1]
    damping = DAMPING * np.trace(moments.gram, axis1=1, axis2=2)[:, None, None] / size + 1e-12
    gram = moments.gram + damping * np.eye(size)
    right = weights @ moments.cross + damping * weights
    return np.linalg.solve(gram, right.transpose(0, 2, 1)).transpose(0, 2, 1), gram

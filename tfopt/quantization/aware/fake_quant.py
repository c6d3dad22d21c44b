"""Fake quantization: values rounded to the grid of an integer file, in floating point and with a gradient.

The gradient of rounding is taken to be 1 (the straight-through estimator).

References:
    Bengio, Leonard, Courville, Estimating or propagating gradients through stochastic neurons for conditional
    computation, arXiv:1308.3432; Jacob et al., Quantization and training of neural networks for efficient
    integer-arithmetic-only inference, arXiv:1712.05877; for learned ranges Esser et al., Learned step size
    quantization, arXiv:1902.08153, and with a zero point Bhalgat et al., LSQ+, arXiv:2004.09576.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# The smallest range, where all values are zero.
LEAST = 1e-8


def activation(x: Any, low: Any, high: Any, bits: int) -> Any:
    """Values on the grid between two ends that 0 lies in; with 16 bits the grid is symmetric, as TFLite has it.

    Args:
        x: Of any shape.
        low: The lower end, at most 0.
        high: The upper end, at least 0; one of both is not 0.
        bits: 8 or 16.
    """
    if bits == 16:
        high = tf.maximum(-low, high)
        low = -high
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits, narrow_range=bits == 16)


def halves_away(x: Any, low: Any, high: Any, bits: int) -> Any:
    """Values moved a little: those half way between two of the grid go where LiteRT's average pooling puts them.

    It rounds away from the integer 0; of the averages of two by two every fourth is half way.
    """
    step = (high - low) / (2**bits - 1)
    zero = tf.round(-(2 ** (bits - 1)) - low / step)
    return x + tf.stop_gradient(tf.sign(x / step + zero) * step * 1e-3)


def away_from_zero(rounded: Any, x: Any) -> Any:
    """Rounded values, and the values themselves where they came to 0: 1/sqrt(0) is not finite in floating point.

    LiteRT's integers take the largest value of the output's grid there. The logarithm of a probability of 0 would tell
    a loss nothing of which way to go.
    """
    return tf.where(rounded == 0, x, rounded)


def learned_activation(x: Any, low: Any, high: Any, bits: int) -> Any:
    """The same, with the gradient of LSQ+ for both ends: that of the rounding error inside, that of the end outside."""
    if bits == 16:
        step = tf.maximum(-low, high) / (2**15 - 1)
        return _rounded(tf.clip_by_value(x / step, -(2**15 - 1), 2**15 - 1)) * step
    levels = 2**bits - 1
    step = (high - low) / levels
    zero = _rounded(-low / step)
    return (_rounded(tf.clip_by_value(x / step + zero, 0, levels)) - zero) * step


def kernel(weights: Any, axes: tuple[int, ...], bits: int) -> Any:
    """A kernel on the grid that covers its largest weight, and the largest of each channel where it has channels.

    Args:
        weights: The kernel.
        axes: Its axes with a scale for each entry; none for one scale in all.
        bits: 4 or 8.
    """
    others = [axis for axis in range(len(weights.shape)) if axis not in axes]
    reach = tf.reduce_max(tf.abs(weights), axis=others, keepdims=True)
    step = tf.maximum(reach, LEAST) / (2 ** (bits - 1) - 1)
    return weights + tf.stop_gradient(tf.round(weights / step) * step - weights)


def learned_kernel(weights: Any, step: Any, bits: int) -> Any:
    """A kernel on grids of given steps, with the gradient of LSQ for them.

    Args:
        weights: The kernel.
        step: The distance of two values, in a shape that broadcasts.
        bits: 4 or 8; TFLite leaves the lowest value of 8 bits out.
    """
    largest = 2 ** (bits - 1) - 1
    lowest = -largest if bits == 8 else -largest - 1
    return _rounded(tf.clip_by_value(weights / step, lowest, largest)) * step


def table(weights: Any, bits: int) -> Any:
    """A table of embeddings, or what is added or multiplied by, on the grid from its smallest to its largest value."""
    low, high = tf.minimum(tf.reduce_min(weights), -LEAST), tf.maximum(tf.reduce_max(weights), LEAST)
    nudged = activation(weights, low, high, bits)
    return weights + tf.stop_gradient(nudged - weights)


def _rounded(x: Any) -> Any:
    return x + tf.stop_gradient(tf.round(x) - x)

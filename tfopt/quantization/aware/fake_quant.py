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

# The width of a range whose values are all zero.
LEAST = 1e-8


def activation(x: Any, low: Any, high: Any, bits: int) -> Any:
    """Rounds values to the grid of a range that contains 0; with 16 bits the grid is symmetric, as TFLite has it.

    Args:
        x: Values to round, any shape.
        low: Lower end of the range, at most 0.
        high: Upper end of the range, at least 0; one of the two is not 0.
        bits: 8 or 16.
    """
    if bits == 16:
        high = tf.maximum(-low, high)
        low = -high
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits, narrow_range=bits == 16)


def halves_away(x: Any, low: Any, high: Any, bits: int) -> Any:
    """Nudges values half way between two grid points, so that they round as LiteRT's average pooling rounds them.

    LiteRT rounds halves away from the integer 0; of 2 x 2 averages every fourth is half way.
    """
    step = (high - low) / (2**bits - 1)
    zero = tf.round(-(2 ** (bits - 1)) - low / step)
    return x + tf.stop_gradient(tf.sign(x / step + zero) * step * 1e-3)


def away_from_zero(rounded: Any, x: Any) -> Any:
    """Rounded values, but unrounded ones where rounding gave 0: 1/sqrt(0) is not finite in floating point.

    LiteRT's integers take the largest value of the output's grid there. The logarithm of a probability of 0 would tell
    a loss nothing of which way to go.
    """
    return tf.where(rounded == 0, x, rounded)


def learned_activation(x: Any, low: Any, high: Any, bits: int) -> Any:
    """`activation` with the gradient of LSQ+ for both ends: the rounding error inside the range, the end outside."""
    if bits == 16:
        step = tf.maximum(-low, high) / (2**15 - 1)
        return _rounded(tf.clip_by_value(x / step, -(2**15 - 1), 2**15 - 1)) * step
    levels = 2**bits - 1
    step = (high - low) / levels
    zero = _rounded(-low / step)
    return (_rounded(tf.clip_by_value(x / step + zero, 0, levels)) - zero) * step


def kernel(weights: Any, axes: tuple[int, ...], bits: int) -> Any:
    """Rounds a kernel to the grid that covers its largest weight, per channel or per tensor.

    Args:
        weights: The kernel, any shape.
        axes: Axes of the kernel with one scale per index (per-channel); empty for one scale (per-tensor).
        bits: 4 or 8.
    """
    others = [axis for axis in range(len(weights.shape)) if axis not in axes]
    reach = tf.reduce_max(tf.abs(weights), axis=others, keepdims=True)
    step = tf.maximum(reach, LEAST) / (2 ** (bits - 1) - 1)
    return weights + tf.stop_gradient(tf.round(weights / step) * step - weights)


def gates(weights: Any, count: int, bits: int) -> Any:
    """`kernel` with one scale for each of so many equal parts of the last axis, as the gates of an LSTM have."""
    apart = tf.reshape(weights, [*weights.shape[:-1], count, weights.shape[-1] // count])
    return tf.reshape(kernel(apart, (apart.shape.rank - 2,), bits), weights.shape)


def learned_kernel(weights: Any, step: Any, bits: int) -> Any:
    """Rounds a kernel to grids of given scales, with the gradient of LSQ for the scales.

    Args:
        weights: The kernel, any shape.
        step: The scale: distance of two grid points, in a shape that broadcasts with the kernel.
        bits: 4 or 8; TFLite does not use the lowest value of 8 bits.
    """
    largest = 2 ** (bits - 1) - 1
    lowest = -largest if bits == 8 else -largest - 1
    return _rounded(tf.clip_by_value(weights / step, lowest, largest)) * step


def table(weights: Any, bits: int) -> Any:
    """Rounds an embedding table, or an elementwise operand, to the grid from its smallest to its largest value."""
    low, high = tf.minimum(tf.reduce_min(weights), -LEAST), tf.maximum(tf.reduce_max(weights), LEAST)
    nudged = activation(weights, low, high, bits)
    return weights + tf.stop_gradient(nudged - weights)


def _rounded(x: Any) -> Any:
    return x + tf.stop_gradient(tf.round(x) - x)

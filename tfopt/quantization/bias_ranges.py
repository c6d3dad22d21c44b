"""Kernel ranges widened so that the 32-bit biases fit.

An integer file holds a bias in 32 bits, at the scale of the input times that of its channel of the kernel. A channel
whose weights are all zero, as pruning leaves them, or far smaller than its bias has a scale so small that the bias does
not fit: it would be cut off, and the channel would give nothing.

References:
    Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877, section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfopt.quantization.float_conversion import FloatModel
from tfopt.tflite.file import Op

# Largest bias in steps of its scale: of the 32 bits one is the sign, and one is a reserve.
_STEPS = 2**30
_LARGEST = 127
# Steps of the finest input scale, that of 16 bits; 8 bits are coarser and leave more room.
_INPUT_STEPS = 2**15


def kernel_ranges(source: FloatModel, ranges: Mapping[str, Any], per_tensor: set[int]) -> dict[str, Any]:
    """The ranges of kernels with a channel too narrow for its bias, that channel's range widened.

    Args:
        source: The float file.
        ranges: `min` and `max` by tensor name, of activations and of kernels whose range is not that of their weights.
        per_tensor: Numbers of the ops whose kernels have one scale (per-tensor).

    Returns:
        `min` and `max` by kernel name, of size 1 along each axis that shares a scale.
    """
    found: dict[str, Any] = {}
    for index, op in enumerate(source.ops):
        parts = _parts(op) if op.graph == 0 else None
        if parts is None or parts[0] not in ranges:
            continue
        taken, kernel, bias = parts
        weights, axis = np.abs(source.constants[kernel]), op.facts.kernel_axis
        others = tuple(i for i in range(weights.ndim) if i != axis)
        largest = weights.max(axis=others, keepdims=True)
        if kernel in ranges:
            largest = np.broadcast_to(ranges[kernel]["max"], largest.shape)
        least = least_ends(source.constants[bias], ranges[taken]).reshape(largest.shape)
        # An empty channel can have any scale; that of the widest repeats a number, which compresses to nothing.
        least = np.where(largest == 0, np.maximum(least, largest.max() * (least > 0)), least)
        if index in per_tensor:
            largest, least = largest.max(keepdims=True), least.max(keepdims=True)
        before = found.get(kernel, {"max": largest})["max"]
        if (before < least).any():
            wide = np.maximum(before, least).astype(np.float32)
            found[kernel] = {"min": -wide, "max": wide}
    return found


def least_ends(bias: np.ndarray, data: Mapping[str, Any]) -> np.ndarray:
    """The ends of the least ranges of a kernel's channels at which their biases fit, of the shape of the biases.

    Args:
        bias: The biases.
        data: `min` and `max` of the op's input.
    """
    reach = max(abs(float(np.min(data["min"]))), abs(float(np.max(data["max"]))), 1e-30)
    return np.abs(bias) * _LARGEST / (reach / _INPUT_STEPS * _STEPS)


def _parts(op: Op) -> tuple[str, str, str] | None:
    """The names of an op's input, kernel and bias; None for an op without a bias."""
    numbers, axis = op.facts.data_kernel_bias, op.facts.kernel_axis
    if numbers is None or axis is None or len(op.inputs) <= max(numbers):
        return None
    data, kernel, bias = (op.inputs[number] for number in numbers)
    if data.bytes or kernel not in op.kernels or bias not in op.weights or bias.shape != (kernel.shape[axis],):
        return None
    return data.name, kernel.name, bias.name

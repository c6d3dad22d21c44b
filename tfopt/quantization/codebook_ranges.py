"""Ranges at which every channel of a clustered kernel keeps the same few integers.

Folding multiplies each channel of a kernel by a factor of its own, and a scale from the channel's own largest weight
would give the values that the channels share another integer in each. At the scale of the whole kernel's largest value,
times the channel's factor, the integers are those of the kernel as it was clustered; a negative factor mirrors them.
An op that reads a scale for each channel in any case gets equal ones.

References:
    Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfopt.quantization.clustered_kernels import codebook
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.weight_matching import stored_kernels
from tfopt.tflite.file import Op


def codebook_ranges(source: FloatModel) -> dict[str, Any]:
    """The ranges of clustered kernels whose channels were folded with factors that differ.

    Args:
        source: The float file.

    Returns:
        `min` and `max` by kernel name, of the kernel's size along its channels and of size 1 along all other axes.
    """
    if not source.clustered:
        return {}
    found: dict[str, Any] = {}
    for one in stored_kernels(source):
        factors = np.abs(one.factors)
        if np.ptp(factors) > 1e-6 * factors.max() and codebook(one.kernel):
            largest = np.abs(np.asarray(one.kernel.variable.value.numpy())).max()
            shape = [-1 if axis == one.channels else 1 for axis in range(source.constants[one.constant].ndim)]
            wide = (largest * factors).reshape(shape).astype(np.float32)
            found[one.constant] = {"min": -wide, "max": wide}
    return found


def equal_ranges(source: FloatModel, ops: Iterable[Op]) -> dict[str, Any]:
    """Equal ranges for all channels of the kernels of some ops, in the form of `codebook_ranges`."""
    found: dict[str, Any] = {}
    for op in ops:
        for kernel in op.kernels:
            weights = source.constants[kernel.name]
            shape = [size if axis == op.facts.kernel_axis else 1 for axis, size in enumerate(weights.shape)]
            wide = np.full(shape, np.abs(weights).max(), np.float32)
            found[kernel.name] = {"min": -wide, "max": wide}
    return found

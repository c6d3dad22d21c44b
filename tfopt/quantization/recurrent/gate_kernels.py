"""The kernels of an LSTM's gates in int8, one symmetric scale to a gate, or to all gates of a clustered kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LARGEST = 127
# Largest bias in steps of its scale: of the 32 bits one is the sign, and one is a reserve.
_BIAS_STEPS = 2**30


def scales_of(weights: Sequence[np.ndarray], one_scale: bool, least: Sequence[float] = ()) -> list[np.float32]:
    """The scale of each gate's kernel.

    Args:
        weights: The kernels, `(units, inputs)` each.
        one_scale: Whether all have one scale, so that values which gates share are the same integers.
        least: Least scale of each, so that its bias fits; none where it has no bias of its own.
    """
    reach = np.array([np.abs(part).max(initial=0) for part in weights])
    reach = np.where(reach > 0, reach, reach.max(initial=0) or 1.0)  # of a kernel of zeros any scale is right
    scales = np.maximum(reach / LARGEST, least if len(least) else 0.0)
    if one_scale:
        scales = np.full(len(scales), scales.max())
    return list(scales.astype(np.float32))


def least_scales(biases: Sequence[np.ndarray], data_scale: float) -> list[float]:
    """The least scale of each gate's kernel at which its bias fits in 32 bits, at the scale of the data."""
    return [float(np.abs(bias).max(initial=0) / (data_scale * _BIAS_STEPS)) for bias in biases]


def quantized(weights: np.ndarray, scale: np.float32) -> np.ndarray:
    """A kernel as int8 steps of a symmetric scale."""
    return np.clip(np.rint(weights / scale), -LARGEST, LARGEST).astype(np.int8)


def quantized_bias(bias: np.ndarray, scale: float) -> np.ndarray:
    """A bias as int32 steps of a scale."""
    return np.rint(bias.astype(np.float64) / scale).astype(np.int32)

"""The grids of a quantized file: of its activations, and of its kernels with their integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.tflite import flatbuffer
from tfopt.tflite.file import stored_values, tensor_type

_BITS = {"INT4": 4, "INT8": 8}


@dataclass(frozen=True)
class ActivationGrid:
    """The grid of one activation.

    Args:
        scale: Distance of two neighbours.
        zero: The integer that stands for 0.
        dtype: Type of the integers.
    """

    scale: float
    zero: int
    dtype: type[np.signedinteger[Any]]

    @property
    def low(self) -> float:
        """The smallest value."""
        return (int(np.iinfo(self.dtype).min) - self.zero) * self.scale

    @property
    def high(self) -> float:
        """The largest value."""
        return (int(np.iinfo(self.dtype).max) - self.zero) * self.scale

    def integers(self, values: np.ndarray) -> np.ndarray:
        """The integers of values on the grid."""
        return (np.rint(values / np.float32(self.scale)) + self.zero).astype(self.dtype)

    def values(self, integers: np.ndarray) -> np.ndarray:
        """The values of integers, in float32."""
        return (integers.astype(np.float32) - self.zero) * np.float32(self.scale)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values on the grid, which has an end for infinite ones and 0 for what is not a number."""
        scale = np.float32(self.scale)
        found = np.clip(np.nan_to_num(values, nan=0.0), np.float32(self.low), np.float32(self.high))
        found /= scale
        np.rint(found, out=found)
        found *= scale
        return found


@dataclass(frozen=True)
class KernelGrid:
    """A kernel as it is stored.

    Args:
        integers: The integers, in the shape of the kernel.
        scales: The scales, of the kernel's size along its channels where each has its own, else of size 1.
        bits: 4 or 8.
    """

    integers: np.ndarray
    scales: np.ndarray
    bits: int

    @property
    def high(self) -> int:
        """The largest integer, whose value is the end of the range."""
        return 2 ** (self.bits - 1) - 1

    @property
    def low(self) -> int:
        """The smallest integer: of 8 bits it mirrors the largest, as the specification asks; of 4 bits it may not."""
        return -self.high - (self.bits == 4)


def activation_grids(content: bytes) -> dict[str, ActivationGrid]:
    """The grid of each quantized activation of a file by tensor name."""
    model = flatbuffer.view(content)
    found = {}
    for tensor in model.subgraphs[0].tensors:
        scales = _scales(tensor)
        data = model.buffers[tensor.buffer].data
        if len(scales) != 1 or tensor_type(tensor) not in ("INT8", "INT16") or (data is not None and len(data)):
            continue
        points = tensor.quantization.zeroPoint
        zero = int(points[0]) if points is not None and len(points) else 0
        dtype = np.int8 if tensor_type(tensor) == "INT8" else np.int16
        found[tensor.name.decode()] = ActivationGrid(float(scales[0]), zero, dtype)
    return found


def kernel_grids(content: bytes) -> dict[str, KernelGrid]:
    """The integer kernels of a file by tensor name."""
    model = flatbuffer.view(content)
    found = {}
    for tensor in model.subgraphs[0].tensors:
        data, scales, dtype = model.buffers[tensor.buffer].data, _scales(tensor), tensor_type(tensor)
        if data is None or not len(data) or not len(scales) or dtype not in ("INT4", "INT8") or len(tensor.shape) < 2:
            continue
        shape = tuple(int(size) for size in tensor.shape)
        integers = stored_values(bytes(np.asarray(data, np.uint8)), dtype, shape).reshape(shape)
        along = [1] * len(shape)
        if len(scales) > 1:
            along[int(tensor.quantization.quantizedDimension)] = len(scales)
        grid = KernelGrid(integers, np.asarray(scales, np.float64).reshape(along), _BITS[dtype])
        found[tensor.name.decode()] = grid
    return found


def _scales(tensor: Any) -> Any:
    quantization = tensor.quantization
    return () if quantization is None or quantization.scale is None else quantization.scale

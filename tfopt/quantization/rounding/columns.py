"""The inputs of an op with a kernel as rows: what each of its outputs is a product of kernel and row of.

References:
    Chellapilla et al., High performance convolutional neural networks for document processing, 2006 (im2col); the
    paddings are those of the TFLite kernels, tensorflow/lite/kernels/padding.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tfopt.tflite.file import Op

_Shape = tuple[int, ...]
_SAME = 0
# What the fused activations of the schema let through; others are looked at before the activation.
_BOUNDS = {0: (-np.inf, np.inf), 1: (0.0, np.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}


@dataclass(frozen=True)
class Columns:
    """The rows of one op.

    Args:
        windows: Maps inputs `(samples, ...)` to a view of their windows `(samples, *positions, groups, columns...)`.
        leading: Number of axes of samples and positions.
        groups: Number of groups.
        split: Maps a kernel of the file to `(groups, channels, columns)`.
        join: The way back.
        bounds: The least and the largest value that the fused activation lets through.
    """

    windows: Callable[[np.ndarray], np.ndarray]
    leading: int
    groups: int
    split: Callable[[np.ndarray], np.ndarray]
    join: Callable[[np.ndarray], np.ndarray]
    bounds: tuple[float, float]

    def count(self, values: np.ndarray) -> int:
        """Number of rows of some inputs."""
        return int(np.prod(self.windows(values).shape[: self.leading]))

    def rows(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Some of the rows, `(groups, count, columns)`.

        Args:
            values: Inputs `(samples, ...)`.
            chosen: Numbers of the rows.
        """
        windows = self.windows(values)
        found = windows[np.unravel_index(chosen, windows.shape[: self.leading])]
        return np.ascontiguousarray(found.reshape(len(chosen), self.groups, -1).transpose(1, 0, 2))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean of all rows, `(groups, columns)`."""
        windows = self.windows(values)
        total = windows.mean(axis=tuple(range(self.leading)), dtype=np.float64)
        return total.reshape(self.groups, -1)


def columns_of(op: Op, options: Any) -> Columns:
    """The rows of an op whose facts say how it reads its inputs.

    Args:
        op: The op.
        options: Its options, as the file has them.
    """
    data, kernel, _ = op.facts.data_kernel_bias or (0, 1, 2)
    if op.facts.windows is None:
        raise ValueError(f"an op has to read windows. Received: {op.name}")
    make = _MAKERS[op.facts.windows]
    return make(options, op.inputs[kernel].shape, op.inputs[data].shape, op.outputs[0].shape)


def _dense(options: Any, shape: _Shape, inputs: _Shape, outputs: _Shape) -> Columns:
    return Columns(
        windows=lambda values: values.reshape(-1, shape[-1]),
        leading=1,
        groups=1,
        split=lambda kernel: kernel.reshape(1, *shape),
        join=lambda kernel: kernel.reshape(shape),
        bounds=_bounds(options),
    )


def _convolution(options: Any, shape: _Shape, inputs: _Shape, outputs: _Shape) -> Columns:
    channels, height, width, depth = shape
    groups = inputs[-1] // depth

    def windows(values: np.ndarray) -> np.ndarray:
        parts = values.reshape(*values.shape[:3], groups, depth)
        return np.moveaxis(_windows(parts, (height, width), options), 4, -1)

    return Columns(
        windows=windows,
        leading=3,
        groups=groups,
        split=lambda kernel: kernel.reshape(groups, channels // groups, -1),
        join=lambda kernel: kernel.reshape(shape),
        bounds=_bounds(options),
    )


def _depthwise(options: Any, shape: _Shape, inputs: _Shape, outputs: _Shape) -> Columns:
    _, height, width, channels = shape
    multiplier = int(options.depthMultiplier) or 1
    groups = channels // multiplier
    return Columns(
        windows=lambda values: _windows(values, (height, width), options),
        leading=3,
        groups=groups,
        split=lambda kernel: kernel.reshape(-1, groups, multiplier).transpose(1, 2, 0),
        join=lambda kernel: np.ascontiguousarray(kernel.transpose(2, 0, 1)).reshape(shape),
        bounds=_bounds(options),
    )


def _transposed(options: Any, shape: _Shape, inputs: _Shape, outputs: _Shape) -> Columns:
    channels, height, width, _ = shape
    strides = (int(options.strideH), int(options.strideW))

    def windows(values: np.ndarray) -> np.ndarray:
        samples, rows, columns, depth = values.shape
        spread = np.zeros((samples, (rows - 1) * strides[0] + 1, (columns - 1) * strides[1] + 1, depth), values.dtype)
        spread[:, :: strides[0], :: strides[1]] = values
        pads = [(0, 0)]
        for size, kernel, output in zip(spread.shape[1:3], (height, width), outputs[1:3], strict=True):
            before = kernel - 1 - (max(size + kernel - 1 - output, 0) // 2 if options.padding == _SAME else 0)
            pads.append((before, max(output + kernel - 1 - before - size, 0)))
        padded = np.pad(spread, [*pads, (0, 0)])[:, : outputs[1] + height - 1, : outputs[2] + width - 1]
        found = sliding_window_view(padded, (height, width), axis=(1, 2))
        return found[..., ::-1, ::-1].transpose(0, 1, 2, 4, 5, 3)

    return Columns(
        windows=windows,
        leading=3,
        groups=1,
        split=lambda kernel: kernel.reshape(1, channels, -1),
        join=lambda kernel: kernel.reshape(shape),
        bounds=_bounds(options),
    )


def _windows(values: np.ndarray, kernel: tuple[int, int], options: Any) -> np.ndarray:
    """The windows of a convolution, `(samples, rows, columns, ..., height, width)`, a view of the padded inputs."""
    strides = (int(options.strideH), int(options.strideW))
    dilations = (int(options.dilationHFactor) or 1, int(options.dilationWFactor) or 1)
    pads = [(0, 0)]
    for size, own, stride, dilation in zip(values.shape[1:3], kernel, strides, dilations, strict=True):
        reach = (own - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0) if options.padding == _SAME else 0
        pads.append((total // 2, total - total // 2))
    padded = np.pad(values, [*pads, *[(0, 0)] * (values.ndim - 3)])
    reach_h, reach_w = ((own - 1) * dilation + 1 for own, dilation in zip(kernel, dilations, strict=True))
    found = sliding_window_view(padded, (reach_h, reach_w), axis=(1, 2))
    return found[:, :: strides[0], :: strides[1], ..., :: dilations[0], :: dilations[1]]


def _bounds(options: Any) -> tuple[float, float]:
    return _BOUNDS.get(int(options.fusedActivationFunction), _BOUNDS[0]) if options is not None else _BOUNDS[0]


_MAKERS: dict[str, Callable[[Any, _Shape, _Shape, _Shape], Columns]] = {
    "row": _dense,
    "window": _convolution,
    "channel": _depthwise,
    "spread": _transposed,
}

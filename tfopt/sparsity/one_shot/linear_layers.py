"""Layers that multiply their inputs by a matrix: the rows that they multiply, and their kernel as that matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.models.layers import Kernel

# Values of patches that are taken out of a batch at once.
MOST_VALUES = 2**23
# Inputs of a matrix, beyond which its moments take more than 4 GB.
MOST_INPUTS = 12_000
# Classes that are seen as a matrix. Those that come of them multiply in the same way.
CLASSES = ("Dense", "Conv1D", "Conv2D", "EinsumDense")


@dataclass(frozen=True)
class LinearLayer:
    """A kernel as a matrix `(inputs, outputs)`.

    Args:
        kernel: The kernel.
        taken: Axes of the kernel that are summed over.
        given: Its other axes, in their order.
        read: Axes of the layer's input that run along `taken`, in the same order; empty for a convolution.
    """

    kernel: Kernel
    taken: tuple[int, ...]
    given: tuple[int, ...]
    read: tuple[int, ...] = ()

    @property
    def layer(self) -> Any:
        """The Keras layer."""
        return self.kernel.place.layer

    @property
    def shape(self) -> tuple[int, int]:
        """The number of inputs and of outputs."""
        shape = self.kernel.variable.shape
        return int(np.prod([shape[axis] for axis in self.taken])), int(np.prod([shape[axis] for axis in self.given]))

    @property
    def run(self) -> int:
        """Inputs in a row of the kernel: the channels of a convolution, all inputs of any other layer."""
        return self.shape[0] if self.read else int(self.kernel.variable.shape[-2])

    def matrix(self, kernel: np.ndarray) -> np.ndarray:
        """A kernel as a matrix `(inputs, outputs)`, float64."""
        return np.transpose(kernel, (*self.taken, *self.given)).reshape(self.shape).astype(np.float64)

    def restored(self, matrix: np.ndarray) -> np.ndarray:
        """A matrix `(inputs, outputs)` in the shape of the kernel."""
        shape, order = self.kernel.variable.shape, (*self.taken, *self.given)
        return matrix.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))

    def rows(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """The rows `(n, inputs)` that the matrix multiplies, float32, of inputs `(batch, ...)`, part by part."""
        x = np.asarray(x, np.float32)
        if self.read:
            taken = [axis % x.ndim for axis in self.read]
            rest = [axis for axis in range(x.ndim) if axis not in taken]
            yield x.transpose((*rest, *taken)).reshape(-1, self.shape[0])
            return
        sizes, strides, dilations = self._window()
        if x.ndim == 3:
            x = x[:, None]
        padding = self.layer.padding
        if padding == "causal":
            x = np.pad(x, ((0, 0), (0, 0), (dilations[1] * (sizes[1] - 1), 0), (0, 0)))
            padding = "valid"
        step = max(1, MOST_VALUES // max(self.shape[0] * int(np.prod(x.shape[1:3])), 1))
        for start in range(0, len(x), step):
            patches = tf.image.extract_patches(
                x[start : start + step], (1, *sizes, 1), (1, *strides, 1), (1, *dilations, 1), padding.upper()
            )
            yield patches.numpy().reshape(-1, self.shape[0])

    def _window(self) -> Iterator[tuple[int, int]]:
        """Kernel size, strides and dilations, of a one-dimensional convolution with 1 in front."""
        layer = self.layer
        for sizes in (layer.kernel_size, layer.strides, layer.dilation_rate):
            yield (1, *sizes)[-2:]


def linear_layer(kernel: Kernel) -> LinearLayer | str:
    """A kernel as a matrix, or the reason why it is not seen as one."""
    layer = kernel.place.layer
    kinds = [ancestor.__name__ for ancestor in type(layer).__mro__ if ancestor.__name__ in CLASSES]
    if not kinds or kernel.attribute != "kernel":
        return f"it is pruned by magnitude alone: {', '.join(CLASSES)} are seen as a product with a matrix"
    found: LinearLayer | str
    if kinds[0] == "EinsumDense":
        found = _einsum(kernel)
    elif kinds[0] == "Dense":
        found = LinearLayer(kernel, (0,), (1,), (-1,))
    elif layer.groups > 1 or layer.data_format != "channels_last":
        found = "it is pruned by magnitude alone: a convolution in groups, or with channels first, is several matrices"
    else:
        rank = len(kernel.variable.shape)
        found = LinearLayer(kernel, tuple(range(rank - 1)), (rank - 1,))
    if isinstance(found, LinearLayer) and found.shape[0] > MOST_INPUTS:
        return f"it is pruned by magnitude alone: the moments of {found.shape[0]:,} inputs take too much memory"
    return found


def _einsum(kernel: Kernel) -> LinearLayer | str:
    inputs, weights, outputs = kernel.place.layer.equation.replace(" ", "").replace("->", ",").split(",")
    taken = [label for label in weights if label in inputs and label not in outputs]
    if not taken or any(label in inputs and label in outputs for label in weights):
        return f"it is pruned by magnitude alone: {kernel.place.layer.equation} is not one product with a matrix"
    before, _, after = inputs.partition("...")
    read = [before.index(label) if label in before else after.index(label) - len(after) for label in taken]
    if "..." not in inputs:
        read = [inputs.index(label) for label in taken]
    rows = tuple(weights.index(label) for label in taken)
    return LinearLayer(kernel, rows, tuple(a for a in range(len(weights)) if a not in rows), tuple(read))

"""Matches constants of a float file to Keras kernels, and finds the factor that folding put on each channel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.models.layers import Kernel, LayerRef
from tfopt.quantization.float_conversion import FloatModel
from tfopt.tflite.file import Op
from tfopt.tflite.ops import OpFacts

# Least cosine of a channel to that of its kernel: up to a factor only rounding may differ.
LEAST_COSINE = 1 - 1e-6


@dataclass(frozen=True)
class StoredKernel:
    """A Keras kernel as it is stored in a file.

    Args:
        kernel: The Keras kernel.
        constant: Name of the constant in the file.
        op: Number of the op that reads the constant.
        facts: Facts about ops of that name.
        axes: Axes of the Keras kernel that run along the output channels.
        channels: Axis of the constant that runs along the output channels.
        factors: Factor that folding put on each channel, `(channels,)`; 1 if none was folded or all weights are 0.
    """

    kernel: Kernel
    constant: str
    op: int
    facts: OpFacts
    axes: tuple[int, ...]
    channels: int
    factors: np.ndarray

    def in_keras(self, stored: np.ndarray) -> np.ndarray:
        """An array in the constant's shape in the order and the shape of the Keras kernel.

        Args:
            stored: The array, such as the integers that stand for the constant.
        """
        shape = tuple(self.kernel.variable.shape)
        places = np.arange(math.prod(shape)).reshape(shape)
        laid = next(laid for laid, axes in _layouts(self.facts, places, stored.shape) if axes == self.axes)
        found = np.empty(places.size, stored.dtype)
        found[laid.ravel()] = stored.ravel()
        return found.reshape(shape)

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Values `(channels,)` in the shape that a kernel's scales have in Keras.

        Args:
            values: One value for each output channel of the constant.
        """
        return values.reshape(shape_of_scales(self.kernel.variable, self.axes))


def stored_kernels(source: FloatModel) -> list[StoredKernel]:
    """The kernels of the layers that a float file was made from, each constant once."""
    found: dict[str, StoredKernel] = {}
    for number, op in enumerate(source.ops):
        channels = op.facts.kernel_axis
        if op.graph or channels is None:
            continue
        for tensor in op.kernels:
            if tensor.name in source.constants and tensor.name not in found:
                one = _stored(source, number, op, tensor.name, channels)
                if one is not None:
                    found[tensor.name] = one
    return list(found.values())


def unknown_kernels(source: FloatModel, stored: list[StoredKernel]) -> list[str]:
    """Constants used as kernels that match no variable of the model, such as the sum of two variables."""
    known = {one.constant for one in stored}
    ops = (op for op in source.ops if not op.graph and op.facts.kernel_axis is not None)
    found = (tensor.name for op in ops for tensor in op.kernels if tensor.name in source.constants)
    return list(dict.fromkeys(name for name in found if name not in known))


def operands(source: FloatModel) -> Iterator[tuple[Kernel, str]]:
    """Variables that a file adds or multiplies elementwise, such as the scales of a layer normalization.

    Yields:
        The variable and the name of its constant.
    """
    seen: set[str] = set()
    for number, op in enumerate(source.ops):
        if op.graph or not op.facts.elementwise:
            continue
        for tensor in op.weights:
            constant = source.constants.get(tensor.name)
            if constant is None or constant.size < 2 or tensor.name in seen:
                continue
            for kernel in (k for place in _nearest(source, number) for k in _variables(place)):
                value = np.asarray(kernel.variable.value.numpy())
                if value.size == constant.size and np.array_equal(value.ravel(), constant.ravel()):
                    seen.add(tensor.name)
                    yield kernel, tensor.name
                    break


def _nearest(source: FloatModel, number: int) -> list[LayerRef]:
    """All layers, the owners of an op first."""
    owners = source.owners[number]
    return [*owners, *(place for place in source.places if place not in owners)]


def _stored(source: FloatModel, number: int, op: Op, name: str, channels: int) -> StoredKernel | None:
    for place in _nearest(source, number):  # a constant that layers share has no owner
        for kernel in (k for k in _variables(place) if len(k.variable.shape) > 1):
            weights = np.asarray(kernel.variable.value.numpy())
            for laid, axes in _layouts(op.facts, weights, source.constants[name].shape):
                factors = _factors(laid, source.constants[name], channels)
                if factors is not None:
                    return StoredKernel(kernel, name, number, op.facts, axes, channels, factors)
    return None


def _variables(place: LayerRef) -> Iterator[Kernel]:
    """The variables of one layer, by the attribute they are kept under."""
    for attribute, value in vars(place.layer).items():
        if isinstance(value, keras.Variable):
            yield Kernel(place, attribute, value)


def _layouts(
    facts: OpFacts, weights: np.ndarray, shape: tuple[int, ...]
) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """The layouts that a kernel can have in a file, each with the kernel's axes of output channels."""
    if weights.size != math.prod(shape):
        return
    rank = weights.ndim
    channels_first = facts.kernel_axis == 0
    if facts.keras_axes:
        axes = tuple(axis % rank for axis in facts.keras_axes)
        laid = np.moveaxis(weights, axes, range(len(axes))) if channels_first else weights
        yield laid.reshape(shape), axes
        return
    for split in range(rank - 1, 0, -1):
        matrix = weights.reshape(math.prod(weights.shape[:split]), -1)
        laid = matrix.T if channels_first else matrix
        if laid.shape == shape:
            yield laid, tuple(range(split, rank))


def _factors(weights: np.ndarray, constant: np.ndarray, axis: int) -> np.ndarray | None:
    """The factor on each channel, `(channels,)`; None if the two are not the same kernel."""
    here = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    there = np.moveaxis(constant, axis, 0).reshape(constant.shape[axis], -1).astype(np.float64)
    dots, ours, theirs = (here * there).sum(1), np.linalg.norm(here, axis=1), np.linalg.norm(there, axis=1)
    alive = (ours > 0) & (theirs > 0)
    if (np.abs(dots[alive]) < LEAST_COSINE * ours[alive] * theirs[alive]).any() or (theirs[ours == 0] > 0).any():
        return None
    if not alive.any() and here.any():
        return None
    factors = np.ones(len(here))
    factors[alive] = dots[alive] / ours[alive] ** 2
    return factors


def shape_of_scales(variable: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a kernel's scales: the kernel's own along its channels, 1 along all other axes."""
    return tuple(size if axis in axes else 1 for axis, size in enumerate(variable.shape))

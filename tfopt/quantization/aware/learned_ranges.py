"""Activation ranges and kernel scales learned by gradient (LSQ), beside the model's own optimizer.

They are not weights of the model: it is saved, compiled and counted without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.quantization.aware import fake_quant
from tfopt.quantization.aware.grids import Grid, KernelGrid
from tfopt.quantization.aware.observers import RangeObserver, mean_variable
from tfopt.quantization.weight_matching import shape_of_scales

_FAR = 1e30
# Adam's own defaults.
_BETAS, _EPSILON = (0.9, 0.999), 1e-12


class LearnedVector:
    """A vector trained by an Adam of its own, whose steps are relative to given sizes.

    That is nearly a step on the logarithm, so the rate does not depend on how large the values are.

    Args:
        value: First values, `(n,)`.
        size: Returns the sizes, `(n,)`, that steps are relative to.
        limits: Least and largest value of an entry.
        rate: Step size as a share of `size`.
        learns: Whether the vector moves, in functions that are traced from then on.

    References:
        Kingma, Ba, Adam, arXiv:1412.6980; Jain et al., Trained quantization thresholds for accurate and efficient
        fixed-point inference, arXiv:1903.08066.
    """

    def __init__(
        self,
        value: np.ndarray,
        size: Callable[[], Any],
        limits: tuple[float, float],
        rate: float,
        learns: Callable[[], bool],
    ):
        self.value = mean_variable(value, trainable=True)
        self._size, self._limits, self._rate, self._learns = size, limits, rate, learns
        self._mean, self._square = mean_variable(np.zeros_like(value)), mean_variable(np.zeros_like(value))
        self._free, self._count = mean_variable(np.ones_like(value)), mean_variable(np.zeros(()))

    def start(self, value: np.ndarray, free: np.ndarray | None = None) -> None:
        """Restarts from given values, with a fresh Adam.

        Args:
            value: First values, `(n,)`.
            free: 1 for entries that learn and 0 for others, `(n,)`; all learn if not given.
        """
        self.value.assign(value.astype(np.float32))
        self._free.assign(np.ones_like(value, np.float32) if free is None else free.astype(np.float32))
        for variable in (self._mean, self._square, self._count):
            variable.assign(np.zeros(variable.shape, np.float32))

    def delivered(self) -> Any:
        """The value; its gradient moves the vector during backpropagation, so read it once per step."""

        @tf.custom_gradient
        def passed(now: Any) -> Any:
            def grad(gradient: Any) -> Any:
                if self._learns():
                    self._move(gradient)
                return tf.zeros_like(gradient)

            return tf.identity(now), grad

        return passed(self.value.read_value())

    def _move(self, gradient: Any) -> None:
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            gradient = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradient)
        size, count = self._size(), self._count.read_value() + 1
        gradient = gradient * size * self._free.read_value()  # with respect to the logarithm
        finite = tf.reduce_all(tf.math.is_finite(gradient))  # a scaled loss of float16 overflows now and then
        gradient = tf.where(finite, gradient, 0.0)
        mean = _BETAS[0] * self._mean.read_value() + (1 - _BETAS[0]) * gradient
        square = _BETAS[1] * self._square.read_value() + (1 - _BETAS[1]) * gradient * gradient
        step = mean / (1 - _BETAS[0] ** count) / (tf.sqrt(square / (1 - _BETAS[1] ** count)) + _EPSILON)
        new = tf.clip_by_value(self.value.read_value() - self._rate * size * step, *self._limits)
        moved = ((self._count, count), (self._mean, mean), (self._square, square), (self.value, new))
        for variable, after in moved:
            variable.assign(tf.where(finite, after, variable.read_value()))

    @property
    def variables(self) -> list[tf.Variable]:
        """The value, the state of its Adam, and the mask of entries that learn."""
        return [self.value, self._mean, self._square, self._free, self._count]


class LearnedRanges(RangeObserver):
    """Ranges of activations and scales of kernels that follow their gradient.

    Where a range began at zero, as behind a ReLU, that end stays there.

    Args:
        grids: The grids of the activations.
        kernels: The grids of the kernels, each with its variable.
        rate: Step size as a share of the range.

    References:
        Esser et al., Learned step size quantization, arXiv:1902.08153; Bhalgat et al., LSQ+, arXiv:2004.09576.
    """

    learns = True

    def __init__(self, grids: Sequence[Grid], kernels: Sequence[tuple[KernelGrid, Any]], rate: float):
        self._rate = rate
        self._kernels = [(grid, variable) for grid, variable in kernels if grid.symmetric and not grid.gates]
        self._shapes = [shape_of_scales(variable, grid.axes) for grid, variable in self._kernels]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        super().__init__(grids)
        ones = np.ones(sum(self._sizes))
        self._steps = self._vector(ones, lambda: self._steps.value.read_value(), (fake_quant.LEAST, _FAR))

    def _ends(self, ones: np.ndarray) -> tuple[tf.Variable, tf.Variable]:
        self._lows = self._vector(-ones, self._width, (-_FAR, 0.0))
        self._highs = self._vector(ones, self._width, (0.0, _FAR))
        return self._lows.value, self._highs.value

    def _vector(self, value: np.ndarray, size: Callable[[], Any], limits: tuple[float, float]) -> LearnedVector:
        return LearnedVector(value, size, limits, self._rate, lambda: not self.frozen)

    def _width(self) -> Any:
        return self.high.read_value() - self.low.read_value()

    def _start(self, low: np.ndarray, high: np.ndarray, kernels: Mapping[tuple[int, str], Any]) -> None:
        steps = [_least_squares(grid, kernels[grid.part, grid.attribute]) for grid, _ in self._kernels]
        self._lows.start(low, low < 0)
        self._highs.start(high, high > 0)
        self._steps.start(np.concatenate([np.zeros(0), *steps]))

    def begin_kernels(self, steps: Mapping[tuple[int, str], np.ndarray]) -> None:
        """Starts kernels from given scales.

        Args:
            steps: Scales by part and attribute, in shapes that broadcast with the kernels.
        """
        now = {**self.steps(), **steps}
        names = [(grid.part, grid.attribute) for grid, _ in self._kernels]
        self._steps.start(np.concatenate([np.zeros(0), *(now[name].ravel() for name in names)]))

    def pieces(self) -> tuple[list[Any], list[Any], dict[tuple[int, str], Any]]:
        """The ranges as tensors, for one step: lows, highs, and learned scales of kernels by part and attribute."""
        count = len(self.grids)
        low, high, steps = (learned.delivered() for learned in (self._lows, self._highs, self._steps))
        parts = tf.split(steps, self._sizes) if self._sizes else []
        of_kernels = {
            (grid.part, grid.attribute): tf.reshape(part, shape)
            for (grid, _), part, shape in zip(self._kernels, parts, self._shapes, strict=True)
        }
        return tf.unstack(low, count), tf.unstack(high, count), of_kernels

    def steps(self) -> dict[tuple[int, str], np.ndarray]:
        """The learned scales of kernels by part and attribute, in shapes that broadcast with the kernels."""
        parts = np.split(self._steps.value.numpy(), np.cumsum(self._sizes)[:-1]) if self._sizes else []
        named = zip(self._kernels, parts, self._shapes, strict=True)
        return {(grid.part, grid.attribute): part.reshape(shape) for (grid, _), part, shape in named}

    def _variables(self) -> list[tf.Variable]:
        return [v for learned in (self._lows, self._highs, self._steps) for v in learned.variables]


def _least_squares(grid: KernelGrid, weights: np.ndarray) -> np.ndarray:
    """First scales of least squared error, clipping the largest weights; a clustered kernel is not clipped."""
    others = tuple(axis for axis in range(weights.ndim) if axis not in grid.axes)
    largest = 2 ** (grid.bits - 1) - 1
    reach = np.maximum(np.abs(weights).max(axis=others, keepdims=True), fake_quant.LEAST)
    best, least = reach / largest, np.full(reach.shape, np.inf)
    for share in (1.0,) if grid.shared else np.linspace(1, 0.4, 25):
        step = reach * share / largest
        error = (np.clip(np.round(weights / step), -largest, largest) * step - weights) ** 2
        error = error.mean(axis=others, keepdims=True)
        best, least = np.where(error < least, step, best), np.minimum(error, least)
    return best.ravel()

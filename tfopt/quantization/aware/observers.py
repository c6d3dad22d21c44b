"""The base class of range observers: the ranges of activations during quantization-aware training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.quantization.aware import fake_quant
from tfopt.quantization.aware.grids import Grid, KernelGrid


class RangeObserver:
    """The range of each activation, and the rounding within it. The ranges of this base class never change.

    A method that follows the training overrides `follow` to look at batches, or returns tensors from `pieces` that
    have a gradient. Under a distribution strategy an observer is made in its scope; the ranges are then those of
    all replicas.

    Args:
        grids: The grids of the activations.
    """

    learns = False
    """Whether the ranges have a gradient."""

    def __init__(self, grids: Sequence[Grid]):
        self.grids = tuple(grids)
        self.frozen = False
        """Whether ranges stay as they are, in functions that are traced from now on."""
        self.low, self.high = self._ends(np.ones(len(self.grids)))
        self._held: dict[tuple[int, str], tf.Variable] = {}

    def _ends(self, ones: np.ndarray) -> tuple[tf.Variable, tf.Variable]:
        """The variables of the lower and the upper ends, both `(grids,)`."""
        return mean_variable(-ones), mean_variable(ones)

    def begin(self, ranges: Mapping[str, Mapping[str, np.ndarray]], kernels: Mapping[tuple[int, str], Any]) -> None:
        """Starts from the calibrated ranges and the weights of the kernels.

        Args:
            ranges: `min` and `max` by tensor name, for all grids in their order.
            kernels: Kernel weights by part and attribute.
        """
        low = np.minimum([float(entry["min"].item()) for entry in ranges.values()], 0)
        high = np.maximum([float(entry["max"].item()) for entry in ranges.values()], 0)
        self._start(low, np.where(high - low < fake_quant.LEAST, low + fake_quant.LEAST, high), kernels)

    def _start(self, low: np.ndarray, high: np.ndarray, kernels: Mapping[tuple[int, str], Any]) -> None:
        self.low.assign(low.astype(np.float32))
        self.high.assign(high.astype(np.float32))

    def begin_kernels(self, steps: Mapping[tuple[int, str], np.ndarray]) -> None:
        """Gives kernels scales that are not set by their largest weights; they stay so, unless the method learns them.

        Args:
            steps: Scales by part and attribute, in shapes that broadcast with the kernels.
        """
        self._held = {name: mean_variable(step) for name, step in steps.items()}

    def pieces(self) -> tuple[list[Any], list[Any], dict[tuple[int, str], Any]]:
        """The ranges as tensors, for one step: lows, highs, and given scales of kernels by part and attribute."""
        count = len(self.grids)
        held = {name: variable.read_value() for name, variable in self._held.items()}
        return tf.unstack(self.low.read_value(), count), tf.unstack(self.high.read_value(), count), held

    def kernel(self, grid: KernelGrid, weights: Any, step: Any = None) -> Any:
        """A kernel rounded to its grid, with a given scale where it has one."""
        if not grid.symmetric:
            return fake_quant.table(weights, grid.bits)
        if grid.gates:
            return fake_quant.gates(weights, grid.gates, grid.bits)
        if step is None:
            return fake_quant.kernel(weights, grid.axes, grid.bits)
        return fake_quant.learned_kernel(weights, step, grid.bits)

    def activation(self, number: int, x: Any, low: Any, high: Any) -> Any:
        """Values rounded to the grid of that number, within a range."""
        grid = self.grids[number]
        if grid.fixed is not None:
            return fake_quant.activation(x, tf.constant(grid.fixed[0]), tf.constant(grid.fixed[1]), grid.bits)
        return (fake_quant.learned_activation if self.learns else fake_quant.activation)(x, low, high, grid.bits)

    def extremes(self, x: Any) -> tuple[Any, Any]:
        """The smallest and the largest value of a batch, as the method takes them."""
        return extremes_of_all(tf.stop_gradient(x))

    def follow(self, seen: Mapping[int, Sequence[tuple[Any, Any]]]) -> None:
        """Moves the ranges towards a batch.

        Args:
            seen: Pairs of smallest and largest value by grid number.
        """

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The ends of each range that no op fixes, by the name of the grid's tensor in the float file."""
        ends = zip(self.grids, self.low.numpy(), self.high.numpy(), strict=True)
        return {grid.name: (float(low), float(high)) for grid, low, high in ends if grid.fixed is None}

    def steps(self) -> dict[tuple[int, str], np.ndarray]:
        """The given scales of kernels by part and attribute, in shapes that broadcast with the kernels."""
        return {name: np.asarray(variable.numpy()) for name, variable in self._held.items()}

    def get_state(self) -> dict[str, np.ndarray]:
        """The ranges and their training state as arrays."""
        return {f"range{index}": np.asarray(v.read_value()) for index, v in enumerate(self._variables())}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a state of `get_state`."""
        for index, variable in enumerate(self._variables()):
            variable.assign(state[f"range{index}"])

    def _variables(self) -> list[tf.Variable]:
        return [self.low, self.high, *self._held.values()]


def extremes_of_all(x: Any) -> tuple[Any, Any]:
    """The smallest and the largest value of a batch."""
    return tf.reduce_min(x), tf.reduce_max(x)


def mean_variable(value: Any, trainable: bool = False) -> tf.Variable:
    """A variable that averages the values that the replicas of a strategy assign to it."""
    return tf.Variable(np.asarray(value, np.float32), trainable=trainable, aggregation=tf.VariableAggregation.MEAN)

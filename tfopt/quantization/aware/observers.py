"""The ranges of activations, and the steps of kernels, while they follow a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.quantization.aware import fake_quant
from tfopt.quantization.aware.learned_ranges import LearnedVector, mean_variable
from tfopt.quantization.aware.scheme import Grid, KernelGrid
from tfopt.quantization.aware.weight_matching import shape_of_scales
from tfopt.quantization.calibration import ORDINARY, ActivationExtremes
from tfopt.recipe.export import TrainedRanges

_FAR = 1e30


class RangeObserver:
    """What the ranges are and how they come to it.

    Moving averages follow the smallest and the largest value of each batch, or with `percentile` those that all but a
    few samples of it stay within. Learned ranges, and the steps of kernels with them, have a gradient; where a range
    began at zero, as behind a ReLU, that end stays there.

    Under a distribution strategy it is made in its scope; the ranges are then those of all replicas.

    Args:
        grids: Of the activations.
        kernels: Of the kernels, with their variables.
        method: How ranges come about.
        momentum: What is left of a moving average in each step.
        rate: The step of learned ranges, as a share of the range.

    References:
        Moving averages: Jacob et al., arXiv:1712.05877, section 3.1. Learned: Esser et al., Learned step size
        quantization, arXiv:1902.08153; Bhalgat et al., LSQ+, arXiv:2004.09576.
    """

    def __init__(
        self,
        grids: Sequence[Grid],
        kernels: Sequence[tuple[KernelGrid, Any]],
        method: TrainedRanges,
        momentum: float,
        rate: float,
    ):
        self.grids, self._method, self._momentum = tuple(grids), method, momentum
        self._frozen = False
        self._kernels = [(grid, variable) for grid, variable in kernels if method == "learned" and grid.symmetric]
        self._shapes = [shape_of_scales(variable, grid.axes) for grid, variable in self._kernels]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        ones = np.ones(len(self.grids))
        self._learned: list[LearnedVector] = []
        if method == "learned":
            self._learned = [
                LearnedVector(-ones, self._width, (-_FAR, 0.0), rate),
                LearnedVector(ones, self._width, (0.0, _FAR), rate),
                LearnedVector(
                    np.ones(sum(self._sizes)),
                    lambda: self._learned[2].value.read_value(),
                    (fake_quant.LEAST, _FAR),
                    rate,
                ),
            ]
            self.low, self.high = self._learned[0].value, self._learned[1].value
        else:
            self.low, self.high = mean_variable(-ones), mean_variable(ones)

    def _width(self) -> Any:
        return self.high.read_value() - self.low.read_value()

    def begin(self, extremes: ActivationExtremes, kernels: Mapping[tuple[int, str], np.ndarray]) -> None:
        """Starts from what calibration saw, and from the weights of the kernels.

        Args:
            extremes: Of all grids, in their order.
            kernels: The weights, by part and attribute.
        """
        found = extremes.ranges("percentile" if self._method == "percentile" else "minmax").values()
        low = np.minimum([float(entry["min"].item()) for entry in found], 0)
        high = np.maximum([float(entry["max"].item()) for entry in found], 0)
        high = np.where(high - low < fake_quant.LEAST, low + fake_quant.LEAST, high)
        if not self._learned:
            self.low.assign(low.astype(np.float32))
            self.high.assign(high.astype(np.float32))
            return
        steps = [_least_squares(grid, kernels[grid.part, grid.attribute]) for grid, _ in self._kernels]
        self._learned[0].start(low, low < 0)
        self._learned[1].start(high, high > 0)
        self._learned[2].start(np.concatenate([np.zeros(0), *steps]))

    @property
    def frozen(self) -> bool:
        """Whether ranges stay as they are, in functions that are traced from now on."""
        return self._frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self._frozen = frozen
        for learned in self._learned:
            learned.learns = not frozen

    def pieces(self) -> tuple[list[Any], list[Any], dict[tuple[int, str], Any]]:
        """The ranges as tensors, for one step: lows, highs, and learned steps of kernels by part and attribute."""
        count = len(self.grids)
        if not self._learned:
            return tf.unstack(self.low.read_value(), count), tf.unstack(self.high.read_value(), count), {}
        low, high, steps = (learned.delivered() for learned in self._learned)
        parts = tf.split(steps, self._sizes) if self._sizes else []
        of_kernels = {
            (grid.part, grid.attribute): tf.reshape(part, shape)
            for (grid, _), part, shape in zip(self._kernels, parts, self._shapes, strict=True)
        }
        return tf.unstack(low, count), tf.unstack(high, count), of_kernels

    @property
    def learns(self) -> bool:
        """Whether the ranges have a gradient."""
        return bool(self._learned)

    def kernel(self, grid: KernelGrid, weights: Any, step: Any = None) -> Any:
        """A kernel on its grid: of learned steps, where it has some."""
        if not grid.symmetric:
            return fake_quant.table(weights, grid.bits)
        if step is None:
            return fake_quant.kernel(weights, grid.axes, grid.bits)
        return fake_quant.learned_kernel(weights, step, grid.bits)

    def activation(self, number: int, x: Any, low: Any, high: Any) -> Any:
        """Values on the grid of a number."""
        grid = self.grids[number]
        if grid.fixed is not None:
            return fake_quant.activation(x, tf.constant(grid.fixed[0]), tf.constant(grid.fixed[1]), grid.bits)
        return (fake_quant.learned_activation if self._learned else fake_quant.activation)(x, low, high, grid.bits)

    def extremes(self, x: Any) -> tuple[Any, Any]:
        """The smallest and the largest value of a batch that count."""
        x = tf.stop_gradient(x)
        if self._method != "percentile" or x.shape.rank < 2:
            return tf.reduce_min(x), tf.reduce_max(x)
        axes = list(range(1, x.shape.rank))
        low, high = tf.sort(tf.reduce_min(x, axes)), tf.sort(tf.reduce_max(x, axes))
        count = tf.shape(low)[0]
        beyond = tf.cast(tf.math.ceil(tf.cast(count, tf.float32) * (1 - ORDINARY / 100)), tf.int32)
        beyond = tf.minimum(beyond, (count - 1) // 2)
        return low[beyond], high[count - 1 - beyond]

    def follow(self, seen: Mapping[int, Sequence[tuple[Any, Any]]]) -> None:
        """Moves the averages towards a batch; what was not seen stays as it is.

        Args:
            seen: The extremes of each grid's values, by its number.
        """
        if self._learned or self._frozen or not seen:
            return
        for variable, end, of_all in ((self.low, 0, tf.reduce_min), (self.high, 1, tf.reduce_max)):
            before = variable.read_value()
            new = tf.unstack(before, len(self.grids))
            for number, entries in seen.items():
                new[number] = of_all([0.0, *(entry[end] for entry in entries)])  # 0 is on every grid
            batch = tf.stack(new)
            if tf.distribute.get_strategy().num_replicas_in_sync > 1:
                batch = of_all(tf.distribute.get_replica_context().all_gather(batch[None], axis=0), axis=0)
            variable.assign(before * self._momentum + (1 - self._momentum) * batch)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The ends of each range that is not fixed, by the tensor that decides about it."""
        ends = zip(self.grids, self.low.numpy(), self.high.numpy(), strict=True)
        return {grid.name: (float(low), float(high)) for grid, low, high in ends if grid.fixed is None}

    def steps(self) -> dict[tuple[int, str], np.ndarray]:
        """The learned steps of kernels by part and attribute, in shapes that broadcast with them."""
        if not self._learned:
            return {}
        parts = np.split(self._learned[2].value.numpy(), np.cumsum(self._sizes)[:-1]) if self._sizes else []
        named = zip(self._kernels, parts, self._shapes, strict=True)
        return {(grid.part, grid.attribute): part.reshape(shape) for (grid, _), part, shape in named}

    def get_state(self) -> dict[str, np.ndarray]:
        """All of it as arrays."""
        return {f"range{index}": np.asarray(v.read_value()) for index, v in enumerate(self._variables())}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up what `get_state` gave."""
        for index, variable in enumerate(self._variables()):
            variable.assign(state[f"range{index}"])

    def _variables(self) -> list[tf.Variable]:
        return [v for learned in self._learned for v in learned.variables] or [self.low, self.high]


def _least_squares(grid: KernelGrid, weights: np.ndarray) -> np.ndarray:
    """Of some steps that cut the largest weights off, those that lose least; of a few distinct values none is cut."""
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

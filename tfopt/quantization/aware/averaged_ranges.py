"""Activation ranges as moving averages of the extremes of each batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfopt.quantization.aware.grids import Grid
from tfopt.quantization.aware.observers import RangeObserver, extremes_of_all


class AveragedRanges(RangeObserver):
    """Moving averages of the smallest and the largest value of each batch.

    Args:
        grids: The grids of the activations.
        momentum: Share of the old range that a moving average keeps at each step, 0-1.
        extremes: Maps a batch `(samples, ...)` to its smallest and largest value, with or without outliers.

    References:
        Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
        arXiv:1712.05877, section 3.1.
    """

    def __init__(
        self,
        grids: Sequence[Grid],
        momentum: float,
        extremes: Callable[[Any], tuple[Any, Any]] = extremes_of_all,
    ):
        super().__init__(grids)
        self._momentum, self._extremes = momentum, extremes

    def extremes(self, x: Any) -> tuple[Any, Any]:
        """The smallest and the largest value of a batch, as the method takes them."""
        return self._extremes(tf.stop_gradient(x))

    def follow(self, seen: Mapping[int, Sequence[tuple[Any, Any]]]) -> None:
        """Moves the averages towards a batch; ranges that the batch does not show stay as they are.

        Args:
            seen: Pairs of smallest and largest value by grid number.
        """
        if self.frozen or not seen:
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

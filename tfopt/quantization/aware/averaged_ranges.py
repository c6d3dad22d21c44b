"""Ranges that are moving averages of what each batch reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfopt.quantization.aware.observers import RangeObserver, extremes_of_all
from tfopt.quantization.aware.scheme import Grid


class AveragedRanges(RangeObserver):
    """Moving averages of the smallest and the largest value of each batch.

    Args:
        grids: Of the activations.
        momentum: What is left of a range after a step, 0-1.
        extremes: From a batch `(samples, ...)` to its smallest and its largest value that count.

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
        """The smallest and the largest value of a batch that count."""
        return self._extremes(tf.stop_gradient(x))

    def follow(self, seen: Mapping[int, Sequence[tuple[Any, Any]]]) -> None:
        """Moves the averages towards a batch; what was not seen stays as it is.

        Args:
            seen: The extremes of each grid's values, by its number.
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

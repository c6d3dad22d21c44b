"""`percentile`: moving averages of the extremes of each batch, without its outlying samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfopt.quantization.ranges.percentile import ORDINARY
from tfopt.recipe.modes import TrainedRanges


def _observer(grids: Sequence[Any], kernels: Sequence[tuple[Any, Any]], momentum: float, rate: float) -> Any:
    from tfopt.quantization.aware.averaged_ranges import AveragedRanges

    return AveragedRanges(grids, momentum, _ordinary_extremes)


def _ordinary_extremes(x: Any) -> tuple[Any, Any]:
    """The smallest and the largest value of a batch, without the outlying samples at either end."""
    import tensorflow as tf

    from tfopt.quantization.aware.observers import extremes_of_all

    if x.shape.rank < 2:
        return extremes_of_all(x)
    axes = list(range(1, x.shape.rank))
    low, high = tf.sort(tf.reduce_min(x, axes)), tf.sort(tf.reduce_max(x, axes))
    count = tf.shape(low)[0]
    beyond = tf.cast(tf.math.ceil(tf.cast(count, tf.float32) * (1 - ORDINARY / 100)), tf.int32)
    beyond = tf.minimum(beyond, (count - 1) // 2)
    return low[beyond], high[count - 1 - beyond]


PERCENTILE = TrainedRanges(
    name="percentile",
    about="moving averages, without the samples of a batch that stand out",
    begin="percentile",
    observer=_observer,
    rank=20,
)

"""`moving_average`: moving averages of the smallest and the largest value of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfopt.recipe.modes import TrainedRanges


def _observer(grids: Sequence[Any], kernels: Sequence[tuple[Any, Any]], momentum: float, rate: float) -> Any:
    from tfopt.quantization.aware.averaged_ranges import AveragedRanges

    return AveragedRanges(grids, momentum)


MOVING_AVERAGE = TrainedRanges(
    name="moving_average", about="moving averages of each batch's extremes", begin="minmax", observer=_observer, rank=10
)

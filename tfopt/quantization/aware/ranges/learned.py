"""`learned`: activation ranges and kernel scales learned by gradient (LSQ)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfopt.recipe.modes import TrainedRanges


def _observer(grids: Sequence[Any], kernels: Sequence[tuple[Any, Any]], momentum: float, rate: float) -> Any:
    from tfopt.quantization.aware.learned_ranges import LearnedRanges

    return LearnedRanges(grids, kernels, rate)


LEARNED = TrainedRanges(
    name="learned",
    about="by the gradient, and the steps of kernels with them",
    begin="minmax",
    observer=_observer,
    rank=30,
)

"""`one_shot`: all pruning at one step."""

from __future__ import annotations

from typing import Any

from tfopt.sparsity.schedules import ScheduleSettings, SparsitySchedule
from tfopt.sparsity.schedules.constant import constant_sparsity


def _build(settings: ScheduleSettings) -> Any:
    return constant_sparsity(settings.sparsity, settings.begin, settings.begin, 1)


ONE_SHOT = SparsitySchedule("one_shot", "All at `begin`.", _build, ignores=("frequency", "end"), rewinds=True, rank=3)

"""Learning rate schedules: a file for each, found by walking this package."""

from __future__ import annotations

from tfopt.optimizers.schedules.one_cycle import OneCycle
from tfopt.optimizers.schedules.registry import SCHEDULES, ScheduleEntry

__all__ = ["SCHEDULES", "OneCycle", "ScheduleEntry"]

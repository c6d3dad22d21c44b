"""`constant`: one sparsity from the beginning on, with repeated mask updates (TF-MOT's `ConstantSparsity`)."""

from __future__ import annotations

from typing import Any

from tfopt.sparsity.schedules import ScheduleSettings, SparsitySchedule


def constant_sparsity(target_sparsity: float, begin_step: int, end_step: int = -1, frequency: int = 100) -> Any:
    """TF-MOT's `ConstantSparsity`: one sparsity from `begin_step` on. Step 0 never prunes: begin at 1 for at once."""
    from tfopt.sparsity.tfmot import tfmot

    return tfmot().ConstantSparsity(target_sparsity, begin_step, end_step, frequency)


def _build(settings: ScheduleSettings) -> Any:
    frequency, end = settings.updates()
    return constant_sparsity(settings.sparsity, settings.begin, end, frequency)


CONSTANT = SparsitySchedule(
    "constant", "`sparsity` from `begin` on, with new masks until `end` (TF-MOT's ConstantSparsity).", _build, rank=2
)

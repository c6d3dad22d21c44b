"""`polynomial`: from one sparsity to another, fast at first (TF-MOT's `PolynomialDecay`)."""

from __future__ import annotations

from typing import Any

from tfopt.sparsity.schedules import ScheduleSettings, SparsitySchedule
from tfopt.sparsity.schedules.constant import constant_sparsity


def polynomial_decay(
    initial_sparsity: float,
    final_sparsity: float,
    begin_step: int,
    end_step: int,
    power: float = 3,
    frequency: int = 100,
) -> Any:
    """TF-MOT's `PolynomialDecay`: from one sparsity to another, fast at first, along `(1 - progress) ** power`.

    It reaches the final sparsity only where `end_step - begin_step` is a multiple of `frequency`.

    References:
        Zhu and Gupta, To prune, or not to prune, arXiv:1710.01878.
    """
    from tfopt.sparsity.tfmot import tfmot

    return tfmot().PolynomialDecay(initial_sparsity, final_sparsity, begin_step, end_step, power, frequency)


def _build(settings: ScheduleSettings) -> Any:
    frequency, end = settings.updates()
    if end == settings.begin:  # one update leaves no way to go: TF-MOT's polynomial divides by its length
        return constant_sparsity(settings.sparsity, end, end, frequency)
    return polynomial_decay(
        settings.initial_sparsity, settings.sparsity, settings.begin, end, settings.power, frequency
    )


POLYNOMIAL = SparsitySchedule(
    "polynomial",
    "Step by step from `initial_sparsity` to `sparsity`, fast at first (TF-MOT's PolynomialDecay).",
    _build,
    own=("initial_sparsity", "power"),
    rank=1,
)

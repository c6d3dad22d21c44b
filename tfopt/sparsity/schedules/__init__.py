"""The registry of sparsity schedules, one per file: when to prune, and how much.

A new schedule is a new file here, or an entry point of the group `tfopt.schedules` in another package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfopt.registry import Registry


@dataclass(frozen=True)
class ScheduleSettings:
    """The settings that a schedule is built from; training steps count from 1.

    Args:
        sparsity: The fraction of zeros at the end, 0-1.
        begin: The first step that prunes.
        end: The last step that prunes; equal to `begin` where the schedule ignores the setting.
        initial_sparsity: The fraction of zeros at the beginning, 0-1.
        power: The exponent of a curve between the two.
        frequency: Steps from one mask update to the next; None for the default.
        rounds: Number of prunings, for schedules that take it.
    """

    sparsity: float
    begin: int
    end: int
    initial_sparsity: float
    power: float
    frequency: int | None
    rounds: int | None

    def updates(self) -> tuple[int, int]:
        """The frequency of the mask updates, and the step of the last one.

        A twentieth of the way, at most 100 steps, where no frequency is given. The end is moved back to the last update
        before it, so that a sparsity is reached exactly.
        """
        frequency = self.frequency or max(1, min(100, (self.end - self.begin) // 20))
        return frequency, self.begin + (self.end - self.begin) // frequency * frequency


@dataclass(frozen=True)
class SparsitySchedule:
    """A kind of sparsity schedule.

    A built schedule maps a step, or a tensor of steps, to whether masks are updated there and at which sparsity, as a
    TF-MOT `PruningSchedule` does; it has a `begin_step` and an `end_step`.

    Args:
        name: The name in a recipe.
        about: One sentence that says when it prunes.
        build: Makes the schedule from its settings.
        own: Optional settings that only this schedule takes, such as `initial_sparsity` and `power`.
        required: Settings that this schedule needs and no other takes, such as `rounds`.
        ignores: Settings that this schedule does not take, such as `end` and `frequency`.
        rewinds: Whether `rewind` can be set: the schedule prunes a few times with training in between.
        rank: Position in lists.
    """

    name: str
    about: str
    build: Callable[[ScheduleSettings], Any]
    own: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    rewinds: bool = False
    rank: int = 100


SCHEDULES = Registry("tfopt.sparsity.schedules", SparsitySchedule, "tfopt.schedules")

"""When to prune and how much: one schedule to a file.

A new schedule is a new file here, or an entry point of the group `tfopt.schedules` in another package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfopt.registry import Registry


@dataclass(frozen=True)
class ScheduleSettings:
    """What a schedule is built from, in the steps of one training, which count from 1.

    Args:
        sparsity: The fraction of zeros at the end, 0-1.
        begin: The first step that prunes.
        end: The last one; that of the first where the schedule ignores the setting.
        initial_sparsity: The fraction of zeros at the beginning, 0-1.
        power: The exponent of a curve between the two.
        frequency: Steps from one mask update to the next, if that is given.
        rounds: How many prunings there are, if that is given.
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
    """A kind of schedule.

    What it builds is called with a step, or a tensor of them, and says whether masks are made anew there and at which
    sparsity, as a TF-MOT `PruningSchedule` does; it has a `begin_step` and an `end_step`.

    Args:
        name: The word in a recipe.
        about: One sentence that says when it prunes.
        build: From settings to the schedule.
        own: Settings that mean nothing without it, of `initial_sparsity` and `power`.
        required: Settings that it cannot do without, and that mean nothing without it, of `rounds`.
        ignores: Settings that mean nothing with it, of `end` and `frequency`.
        rewinds: Whether it prunes a few times with training in between, so that `rewind` goes with it.
        rank: The place in lists.
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

"""The learning rate schedules that a recipe can name, each an entry in a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfopt.registry import Registry


@dataclass(frozen=True)
class ScheduleEntry:
    """A learning rate schedule that a recipe can name.

    Args:
        name: The name in a recipe.
        make: The class, or a function that makes a schedule from keyword arguments. Where it takes `decay_steps`, they
            are the length of the training if the recipe gives none, less its `warmup_steps`.
        rank: Position in lists of schedules, ascending.
    """

    name: str
    make: Callable[..., Any]
    rank: int = 100


SCHEDULES = Registry("tfopt.optimizers.schedules", ScheduleEntry, "tfopt.learning_rate_schedules")

"""`iterative`: rounds of pruning with training in between.

References:
    Frankle and Carbin, The lottery ticket hypothesis, arXiv:1803.03635.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfopt.errors import InputError
from tfopt.sparsity.schedules import ScheduleSettings, SparsitySchedule


class IterativeSparsity:
    """Rounds of pruning, each of which takes the same share of the weights that are left, with training in between.

    Round i of r reaches `1 - (1 - sparsity) ** (i / r)`.

    Args:
        final_sparsity: The fraction of zeros after the last round, 0-1.
        steps: The step of each round, rising.
    """

    def __init__(self, final_sparsity: float, steps: Sequence[int]):
        self.final_sparsity, self.steps = final_sparsity, list(steps)
        self.begin_step, self.end_step = self.steps[0], self.steps[-1]

    def __call__(self, step: Any) -> tuple[Any, Any]:
        """Whether a step prunes, and the sparsity there; for one step or a tensor of steps."""
        import tensorflow as tf

        at = tf.cast(step, tf.int64)
        rounds = tf.constant(self.steps, tf.int64)
        done = tf.reduce_sum(tf.cast(at[..., None] >= rounds, tf.float32), axis=-1)
        due = tf.reduce_any(at[..., None] == rounds, axis=-1)
        share = tf.constant(1 - self.final_sparsity, tf.float32) ** (done / len(self.steps))
        exact = tf.where(done == len(self.steps), tf.constant(self.final_sparsity, tf.float32), 1 - share)
        return due, exact


def _build(settings: ScheduleSettings) -> IterativeSparsity:
    first, last, rounds = settings.begin, settings.end, settings.rounds or 1
    steps = np.linspace(first, last, rounds).round().astype(int).tolist()
    if len(set(steps)) < len(steps):
        raise InputError(f"{rounds} rounds do not fit between step {first} and step {last}. Train longer.")
    return IterativeSparsity(settings.sparsity, steps)


ITERATIVE = SparsitySchedule(
    "iterative",
    "`rounds` times from `begin` to `end`, each time the same share of what is left.",
    _build,
    required=("rounds",),
    ignores=("frequency",),
    rewinds=True,
    rank=4,
)

"""When to prune and how much: TF-MOT's schedules, and how a user's begin, end and frequency become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.errors import InputError
from tfopt.sparsity.tfmot import tfmot

# TF-MOT's two; all at once at the first step; rounds with training in between.
SCHEDULES = ("polynomial", "constant", "one_shot", "iterative")
_WORDS = ", ".join(map(repr, SCHEDULES))


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
    return tfmot().PolynomialDecay(initial_sparsity, final_sparsity, begin_step, end_step, power, frequency)


def constant_sparsity(target_sparsity: float, begin_step: int, end_step: int = -1, frequency: int = 100) -> Any:
    """TF-MOT's `ConstantSparsity`: one sparsity from `begin_step` on. Step 0 never prunes: begin at 1 for at once."""
    return tfmot().ConstantSparsity(target_sparsity, begin_step, end_step, frequency)


class ScheduleTable:
    """A schedule looked up instead of evaluated: TensorFlow ops at every step would cost more than the step.

    Args:
        schedule: A TF-MOT `PruningSchedule`; steps count from 1.
    """

    WINDOW = 4096

    def __init__(self, schedule: Any):
        self.schedule = schedule
        self._start = -1
        self._due: np.ndarray = np.zeros(0, bool)
        self._sparsity: np.ndarray = np.zeros(0, np.float32)

    def due(self, step: int) -> bool:
        """Whether masks are made anew before training step `step`."""
        return bool(self._at(step)[0])

    def sparsity(self, step: int) -> float:
        """The sparsity, 0-1, that masks made before training step `step` have."""
        return float(self._at(step)[1])

    def _at(self, step: int) -> tuple[Any, Any]:
        start = step - step % self.WINDOW
        if start != self._start:
            steps = tf.range(start, start + self.WINDOW, dtype=tf.int64)
            due, sparsity = self.schedule(steps)
            self._due = np.broadcast_to(np.asarray(due), (self.WINDOW,))
            self._sparsity = np.broadcast_to(np.asarray(sparsity, np.float32), (self.WINDOW,))
            self._start = start
        return self._due[step - start], self._sparsity[step - start]


class IterativeSparsity:
    """Rounds of pruning, each of which takes the same share of the weights that are left, with training in between.

    Of r rounds round i reaches `1 - (1 - sparsity) ** (i / r)`.

    Args:
        final_sparsity: The fraction of zeros after the last round, 0-1.
        steps: The step of each round, rising.

    References:
        Frankle and Carbin, The lottery ticket hypothesis, arXiv:1803.03635.
    """

    def __init__(self, final_sparsity: float, steps: Sequence[int]):
        self.final_sparsity, self.steps = final_sparsity, list(steps)
        self.begin_step, self.end_step = self.steps[0], self.steps[-1]

    def __call__(self, step: Any) -> tuple[Any, Any]:
        """Whether a step is one that prunes, and the sparsity there; for one step or a tensor of them."""
        at = tf.cast(step, tf.int64)
        rounds = tf.constant(self.steps, tf.int64)
        done = tf.reduce_sum(tf.cast(at[..., None] >= rounds, tf.float32), axis=-1)
        due = tf.reduce_any(at[..., None] == rounds, axis=-1)
        share = tf.constant(1 - self.final_sparsity, tf.float32) ** (done / len(self.steps))
        exact = tf.where(done == len(self.steps), tf.constant(self.final_sparsity, tf.float32), 1 - share)
        return due, exact


def final_sparsity(schedule: Any) -> float | None:
    """The sparsity that a schedule ends at, 0-1; None where an object of a user's own does not say."""
    for name in ("final_sparsity", "target_sparsity"):
        if hasattr(schedule, name):
            return float(getattr(schedule, name))
    end = getattr(schedule, "end_step", -1)
    return float(schedule(tf.constant(end, tf.int64))[1]) if end > 0 else None


def check_schedule(schedule: Any) -> Any:
    """The schedule, if it is one of TF-MOT's.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(schedule, tfmot().PruningSchedule | IterativeSparsity):
        raise InputError(
            f"schedule is {_WORDS} or a TF-MOT PruningSchedule (tfopt.sparsity.polynomial_decay makes one). "
            f"Received: schedule={schedule!r}."
        )
    return schedule


def check_knobs(
    kind: str,
    sparsity: float | None,
    initial_sparsity: float,
    power: float,
    begin: int | float,
    end: int | float,
    frequency: int | None,
    rounds: int | None = None,
) -> dict[str, Any]:
    """What a user says of a schedule, as `build_schedule` takes it, once it can be one.

    Raises:
        InputError: A value out of its range.
    """
    if kind not in SCHEDULES:
        raise InputError(f"schedule is {_WORDS} or a TF-MOT PruningSchedule. Received: schedule={kind!r}.")
    if sparsity is None or not 0 <= sparsity < 1:
        raise InputError(f"sparsity is the fraction of zeros to reach, at least 0 and below 1. Received: {sparsity=}.")
    if not 0 <= initial_sparsity <= sparsity:
        raise InputError(f"initial_sparsity lies between 0 and sparsity. Received: {initial_sparsity=}, {sparsity=}.")
    for knob, value in (("begin", begin), ("end", end)):
        if value < 0 or (isinstance(value, float) and value > 1):
            raise InputError(
                f"{knob} is a step number (int) or a fraction of the training (float, 0-1). Received: {knob}={value}."
            )
    if frequency is not None and frequency < 1:
        raise InputError(f"frequency is a number of steps, at least 1. Received: {frequency=}.")
    if (rounds is not None) != (kind == "iterative"):
        raise InputError(f"rounds goes with schedule 'iterative', and with that alone. Received: {rounds=}.")
    if rounds is not None and rounds < 1:
        raise InputError(f"rounds is a number of prunings, at least 1. Received: {rounds=}.")
    return {
        "kind": kind,
        "sparsity": sparsity,
        "initial_sparsity": initial_sparsity,
        "power": power,
        "begin": begin,
        "end": end,
        "frequency": frequency,
        "rounds": rounds,
    }


def build_schedule(
    kind: str,
    sparsity: float,
    *,
    initial_sparsity: float = 0.0,
    power: float = 3.0,
    begin: int | float = 0.0,
    end: int | float = 0.75,
    frequency: int | None = None,
    rounds: int | None = None,
    total: int | None = None,
) -> Any:
    """A TF-MOT schedule from what a user says of it.

    Args:
        kind: One of `SCHEDULES`.
        sparsity: The fraction of zeros at the end, 0-1.
        initial_sparsity: Where the polynomial one starts, 0-1.
        power: Its exponent.
        begin: The first step that prunes: a step number (int) or a fraction of the training (float).
        end: The last one, the same way.
        frequency: Steps from one mask update to the next; a twentieth of the way, at most 100, if not given.
        rounds: Prunings of the iterative one, evenly from begin to end.
        total: Steps of the whole training; None where it is not known.

    Returns:
        The schedule. Its end is moved back to the last update, so that the sparsity is reached exactly.

    Raises:
        InputError: A fraction of an unknown total, or an end that is not after the begin.
    """
    first = max(_step("begin", begin, total), 1)
    if kind == "one_shot":
        return constant_sparsity(sparsity, first, first, 1)
    last = _step("end", end, total)
    if last < first:
        raise InputError(f"pruning must end after it begins. Received: begin at step {first}, end at step {last}.")
    if kind == "iterative":
        steps = np.linspace(first, last, rounds or 1).round().astype(int).tolist()
        if len(set(steps)) < len(steps):
            raise InputError(f"{rounds} rounds do not fit between step {first} and step {last}. Train longer.")
        return IterativeSparsity(sparsity, steps)
    frequency = frequency or max(1, min(100, (last - first) // 20))
    last = first + (last - first) // frequency * frequency
    if kind == "constant" or last == first:  # one update leaves no way to go: TF-MOT's polynomial divides by its length
        return constant_sparsity(sparsity, first, last, frequency)
    return polynomial_decay(initial_sparsity, sparsity, first, last, power, frequency)


def _step(knob: str, value: int | float, total: int | None) -> int:
    if isinstance(value, int):
        return value
    if total is None:
        raise InputError(
            f"{knob} is a fraction of the training, whose length is not known before it ends: the data has no length. "
            f"Write {knob} as a step number. Received: {knob}={value}."
        )
    return round(value * total)

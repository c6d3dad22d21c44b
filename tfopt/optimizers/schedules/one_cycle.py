"""One cycle, which Keras lacks: up to a large learning rate and down again."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tfopt.errors import InputError
from tfopt.optimizers.schedules.registry import ScheduleEntry

__all__ = ["OneCycle"]


@keras.saving.register_keras_serializable("tfopt")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """One cycle: up to a large learning rate along half a cosine, and down along another to next to nothing.

    The rate goes from `max_learning_rate / divide` to `max_learning_rate` over the first `warmup` of the steps, and
    from there to `max_learning_rate / divide / final_divide`. The momentum stays as it is.

    Args:
        max_learning_rate: Largest learning rate, above 0; a learning rate finder suggests one.
        decay_steps: Steps of the whole cycle; after it the rate stays constant.
        warmup: Fraction of the steps with a rising rate, in (0, 1).
        divide: Ratio of the largest to the first rate, 1 or above.
        final_divide: Ratio of the first to the last rate, 1 or above.

    Raises:
        InputError: A value out of its range.

    References:
        Smith and Topin, Super-convergence, arXiv:1708.07120.
    """

    def __init__(
        self,
        max_learning_rate: float,
        decay_steps: int,
        warmup: float = 0.3,
        divide: float = 25.0,
        final_divide: float = 1e4,
    ):
        super().__init__()
        if not max_learning_rate > 0:
            raise InputError(
                f"max_learning_rate is a number above 0. Received: {max_learning_rate}.", ("max_learning_rate",)
            )
        if not 0 < warmup < 1:
            raise InputError(f"warmup is a fraction of the steps, in (0, 1). Received: {warmup}.", ("warmup",))
        for value, argument in ((divide, "divide"), (final_divide, "final_divide"), (decay_steps, "decay_steps")):
            if not value >= 1:
                raise InputError(f"{argument} is 1 or above. Received: {value}.", (argument,))
        self.max_learning_rate, self.decay_steps, self.warmup = max_learning_rate, decay_steps, warmup
        self.divide, self.final_divide = divide, final_divide

    def __call__(self, step: Any) -> Any:
        """The learning rate at a step, from 0."""
        step = ops.cast(step, "float32")
        top, first = self.max_learning_rate, self.max_learning_rate / self.divide
        peak = self.warmup * self.decay_steps
        up = _half_cosine(first, top, step / peak)
        down = _half_cosine(top, first / self.final_divide, (step - peak) / max(self.decay_steps - peak, 1e-9))
        return ops.where(step < peak, up, down)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        names = ("max_learning_rate", "decay_steps", "warmup", "divide", "final_divide")
        return {name: getattr(self, name) for name in names}


ONE_CYCLE = ScheduleEntry("one_cycle", OneCycle, rank=40)


def _half_cosine(start: float, end: float, fraction: Any) -> Any:
    return end + (start - end) * 0.5 * (1 + ops.cos(math.pi * ops.clip(fraction, 0.0, 1.0)))

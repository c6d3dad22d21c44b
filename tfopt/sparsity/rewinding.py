"""Rewinding after pruning: remaining weights, or the learning rate, are reset to their state early in training."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tfopt.errors import InputError, ModelError
from tfopt.keras_private import step_count


class Rewinding:
    """A step of the training to rewind to.

    Args:
        kind: `weights`: all of the model and its optimizer; `learning_rate`: the optimizer's step count alone.
        to: The step to go back to, or a fraction of the training.
    """

    def __init__(self, kind: Literal["weights", "learning_rate"], to: int | float):
        self.kind, self.to = kind, to
        self._kept: list[np.ndarray] | None = None

    def step(self, total: int | None) -> int:
        """The step to go back to.

        Raises:
            InputError: A fraction of a training of unknown length.
        """
        if isinstance(self.to, int):
            return self.to
        if total is None:
            raise InputError(
                "rewind_to is a fraction of a training of unknown length: write it as a step number.", ("rewind_to",)
            )
        return round(self.to * total)

    def before(self, schedule: Any, total: int | None) -> int:
        """The step to go back to, which comes before the first pruning.

        Raises:
            InputError: The step is not before the first pruning, or is a fraction of a training of unknown length.
        """
        to = self.step(total)
        if to >= schedule.begin_step:
            raise InputError(
                f"rewind_to comes before the first pruning. Received: step {to}, pruning at {schedule.begin_step}.",
                ("rewind_to",),
            )
        return to

    def forget(self) -> None:
        """Drops the kept state, for use with another model."""
        self._kept = None

    def keep(self, model: Any) -> None:
        """Keeps the current state of the model."""
        self._kept = [np.array(variable.numpy()) for variable in self._variables(model)]

    def go_back(self, model: Any) -> None:
        """Restores the kept state of the model; the caller applies the masks again.

        Raises:
            ModelError: Training began after the point to go back to.
        """
        if self._kept is None:
            raise ModelError(
                f"there is nothing to rewind to: training went on from a later step than rewind_to={self.to}."
            )
        for variable, value in zip(self._variables(model), self._kept, strict=True):
            variable.assign(value)

    def _variables(self, model: Any) -> list[Any]:
        if self.kind == "learning_rate":
            optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
            return [step_count(optimizer)]
        return [*model.weights, *model.optimizer.variables]

    def get_state(self) -> dict[str, np.ndarray]:
        """The kept state as arrays by name."""
        return {f"rewind{index}": value for index, value in enumerate(self._kept or ())}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state of `get_state`."""
        count = sum(name.startswith("rewind") for name in state)
        self._kept = [state[f"rewind{index}"] for index in range(count)] or None

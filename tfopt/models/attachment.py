"""Base classes of the callbacks that change a model for the length of a `fit()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras

from tfopt.errors import ModelError
from tfopt.models.constraints import HeldConstraint, own_constraint
from tfopt.models.layers import Kernel
from tfopt.models.left_alone import warn_of


class AttachedCallback(keras.callbacks.Callback):
    """A callback that can be used in a `with` block, which restores the model even where `fit` raised.

    Keras does not tell its callbacks of an exception.
    """

    quiet = False
    """Whether it leaves what it would warn of to its owner, whose result says it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Restores the model."""
        self.detach()

    def detach(self) -> None:
        """Undoes what the callback has changed in the model, but for its weights."""
        raise NotImplementedError


class ConstraintCallback(AttachedCallback):
    """A callback that acts on kernels through the constraints of their variables."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[tuple[Kernel, HeldConstraint]] = []
        self._owner: keras.Model | None = None
        self._told: Any = None

    def _tell(self, skipped: Sequence[tuple[str, str]]) -> None:
        """Warns of layers that are left alone, once for a model."""
        if self._told is not self.model and not self.quiet:
            self._told = self.model
            warn_of(type(self).__name__, skipped, stacklevel=4)

    def _own_constraints(self, kernels: Sequence[Kernel]) -> list[Any]:
        """The kernels' own constraints.

        Raises:
            ModelError: Another callback of the same `fit` holds one of them.
        """
        return [own_constraint(kernel, self) for kernel in kernels]

    def _hold(self, kernels: Sequence[Kernel], constraints: Sequence[HeldConstraint]) -> None:
        for kernel, held in zip(kernels, constraints, strict=True):
            kernel.variable.constraint = held
        self._held, self._owner = list(zip(kernels, constraints, strict=True)), self.model
        self.model.make_train_function(force=True)  # fit() keeps a step traced earlier, without these constraints

    def detach(self) -> None:
        """Restores the kernels' own constraints; the weights stay as they are. `fit` does it at its end."""
        if not self._held or self._owner is None:
            return
        for kernel, held in self._held:
            if kernel.variable.constraint is held:
                kernel.variable.constraint = held.own
        self._held = []
        self._owner.make_train_function(force=True)


def refuse_combinations(model: keras.Model) -> None:
    """Refuses ways of training that Keras 3 cannot combine: its own errors are long, or there are none.

    Raises:
        ModelError: Another backend than TensorFlow, or several steps per execution or XLA under a distribution
            strategy.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(f"tfopt prunes on Keras's TensorFlow backend. Received: {keras.backend.backend()!r}.")
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return
    if model.steps_per_execution > 1:
        raise ModelError(
            "Keras 3 cannot run several steps in one execution under a distribution strategy "
            f"(keras issue 19246). Compile with steps_per_execution=1. Received: {model.steps_per_execution}."
        )
    if model.jit_compile is True:
        raise ModelError(
            "Keras 3 cannot compile with XLA under a distribution strategy. Compile with jit_compile=False."
        )

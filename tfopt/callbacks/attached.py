"""What the callbacks have in common that change a model for the length of a `fit()`."""

from __future__ import annotations

from typing import Self

import keras

from tfopt.errors import ModelError


class Attached(keras.callbacks.Callback):
    """A callback that can be used in a `with` block, which lets go of the model even where `fit` raised.

    Keras does not tell its callbacks of an exception.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Lets go of the model."""
        self.detach()

    def detach(self) -> None:
        """Gives the model back as it was."""
        raise NotImplementedError


def refuse_combinations(model: keras.Model) -> None:
    """Says in one line what Keras 3 would say in a hundred, or would do wrong."""
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

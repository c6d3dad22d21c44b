"""The penalty on the weights, logged apart from the loss of the task."""

from __future__ import annotations

from typing import Any

import keras

from tfopt.training import regularizers

__all__ = ["PenaltyLog"]


class PenaltyLog(keras.callbacks.Callback):
    """Logs what the regularizers of the weights add to the loss, and the validation loss without it.

    At the end of each epoch the logs get `penalty`, of the weights as they are then, and, where there is validation
    data, `val_task_loss`, which is `val_loss - penalty`. The `loss` of Keras is the mean over the epoch, the penalty
    included. A model without a regularizer gets neither. Place it before the callbacks that are to see the two.

    Example:
        ```python
        model.fit(x, y, validation_split=0.1, callbacks=[tfopt.callbacks.PenaltyLog()])
        ```
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds `penalty` and `val_task_loss` to the logs of the epoch."""
        if logs is None or all(variable.regularizer is None for variable in self.model.trainable_variables):
            return
        logs["penalty"] = regularizers.penalty_of(self.model)
        if "val_loss" in logs:
            logs["val_task_loss"] = float(logs["val_loss"]) - logs["penalty"]

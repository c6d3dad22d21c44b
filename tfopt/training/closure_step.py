"""Training steps for the optimizers that need more than the gradient."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf

from tfopt.errors import ModelError, TfoptWarning
from tfopt.keras_private import loss_tracker
from tfopt.models.attachment import AttachedCallback, refuse_combinations
from tfopt.optimizers.closure import Closure, needs_closure

__all__ = ["ClosureStep"]


class ClosureStep(AttachedCallback):
    """Gives `SAM`, `AdaHessian` and `NewtonCG` the loss as a function of the weights, for the length of a `fit()`.

    The loss, the metrics and all else that `fit` shows and updates are of the forward pass at the model's own weights.
    With any other optimizer the callback does nothing.

    Raises:
        ModelError: When `fit` begins: a model with a `train_step` of its own, or a way of training that Keras cannot
            combine.

    Example:
        ```python
        model.compile(tfopt.optimizers.SAM("adam", rho=0.05), "mse")
        model.fit(x, y, epochs=10, callbacks=[tfopt.callbacks.ClosureStep()])
        ```
    """

    _owner: keras.Model | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Replaces the model's training step."""
        self.detach()
        optimizer = needs_closure(self.model.optimizer)
        if optimizer is None:
            return
        refuse_combinations(self.model)
        if sentence := optimizer.batches_warning(self.params.get("steps")):
            warnings.warn(sentence, TfoptWarning, stacklevel=2)
        if "train_step" in vars(self.model) or type(self.model).train_step is not keras.Model.train_step:
            raise ModelError(
                f"{type(optimizer).__name__} evaluates the loss more than once in a step, and the model has a "
                "train_step of its own. In it call optimizer.step(tfopt.optimizers.Closure(self, x, y))."
            )
        model = self._owner = self.model

        def train_step(data: Any) -> dict[str, Any]:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            closure = Closure(model, x, y, sample_weight)
            replicas = model.distribute_strategy.num_replicas_in_sync  # Keras divides the loss by their number
            batch = tf.shape(next(part for part in keras.tree.flatten(x) if part is not None))[0]
            loss_tracker(model).update_state(closure.loss * replicas, sample_weight=batch)
            optimizer.step(closure)
            return model.compute_metrics(x, y, closure.outputs, sample_weight=sample_weight)

        model.train_step = self._step = train_step
        model.make_train_function(force=True)

    def on_train_end(self, logs: Any = None) -> None:
        """Restores the model's own training step."""
        self.detach()

    def detach(self) -> None:
        """Restores the model's own training step; `fit` does it at its end."""
        model, self._owner = self._owner, None
        if model is None:
            return
        if vars(model).get("train_step") is self._step:
            del model.train_step
        model.make_train_function(force=True)

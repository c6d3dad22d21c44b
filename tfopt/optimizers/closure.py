"""Closures for optimizers that need more than the gradient: the loss as a function of the weights.

The function is pure: evaluating it anywhere changes nothing, neither weights nor the statistics of a
BatchNormalization, and dropout masks are the same every time, those of the step's own forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfopt.errors import InputError
from tfopt.keras_private import all_layers, loss_of_batch


class Closure:
    """The loss of one batch as a function of a model's trainable weights.

    Making one runs the model's forward pass as `fit` does, with all that it updates; `model.loss`, penalties and
    `add_loss` count. Weights are lists of tensors in the order of `model.trainable_variables`. Under a
    distribution strategy values are those of one replica, to be added up with `total`.

    Args:
        model: A compiled model.
        x: Inputs of the batch, `(batch, ...)`, or dicts and lists of such.
        y: Targets.
        sample_weight: Weights of the samples, `(batch,)`.
    """

    def __init__(self, model: keras.Model, x: Any, y: Any = None, sample_weight: Any = None):
        self._model, self._batch = model, (x, y, sample_weight)
        trainable = {id(variable) for variable in model.trainable_variables}
        others = [variable for variable in model.variables if id(variable) not in trainable]
        self._state = [(variable, tf.identity(variable.value)) for variable in others]
        self._scale = model.optimizer.scale_loss(1.0)
        self.variables = list(model.trainable_variables)
        self.weights = [tf.identity(variable.value) for variable in self.variables]
        with tf.GradientTape() as self._tape:
            self.outputs, self.loss = self._forward()
            self._scaled = self.loss * tf.cast(self._scale, self.loss.dtype)
        self._gradients: list[tf.Tensor] | None = None

    @property
    def gradients(self) -> list[tf.Tensor]:
        """The gradient at the model's own weights, dense; zeros where the loss does not depend on a weight."""
        if self._gradients is None:
            self._gradients = self._unscaled(self._tape, self._scaled, [variable.value for variable in self.variables])
        return self._gradients

    @property
    def compute_dtypes(self) -> set[str]:
        """The types that the model's layers compute in."""
        return {str(layer.compute_dtype) for layer in all_layers(self._model)}

    def loss_at(self, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        """The loss at other weights."""
        mapping = [*self._state, *zip(self.variables, weights, strict=True)]
        with keras.StatelessScope(mapping, collect_losses=True):
            return self._forward()[1]

    def gradients_at(self, weights: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradient at other weights."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            loss = self.loss_at(weights)
            scaled = loss * tf.cast(self._scale, loss.dtype)
        return self._unscaled(tape, scaled, weights)

    def hessian_product(self, vectors: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The gradient, and the Hessian times a vector, both at the model's own weights.

        Through the statistics of a normalization in training the product is an approximation: `tf.nn.moments` stops a
        gradient that is zero itself and whose derivative is not.

        References:
            Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994).
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.weights)
            gradients = self.gradients_at(self.weights)
        products = tape.gradient(
            gradients, self.weights, output_gradients=list(vectors), unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return gradients, [tf.convert_to_tensor(product) for product in products]

    def total(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Sums values over the replicas of a distribution strategy."""
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return list(values)
        return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(values)))

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Applies gradients by the model's optimizer, scaled by its loss scale."""
        scaled = [gradient * tf.cast(self._scale, gradient.dtype) for gradient in gradients]
        self._model.optimizer.apply(scaled, self.variables)

    def _forward(self) -> tuple[Any, tf.Tensor]:
        x, y, sample_weight = self._batch
        outputs = self._model(x, **({"training": True} if "training" in self._model.call_signature_parameters else {}))
        return outputs, loss_of_batch(self._model, x, y, outputs, sample_weight)

    def _unscaled(self, tape: tf.GradientTape, scaled: tf.Tensor, weights: Sequence[Any]) -> list[tf.Tensor]:
        found = tape.gradient(scaled, list(weights), unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(gradient) / tf.cast(self._scale, gradient.dtype) for gradient in found]


class ByClosure:
    """Mixin of the optimizers whose step needs a `Closure`; it comes before the Keras class.

    A subclass says in `direction` what takes the gradient's place in its `update_step`, and in `searches_step` whether
    it finds the length of each step itself, so that factors of the learning rate mean nothing to it.
    """

    searches_step: ClassVar[bool] = False

    def batches_warning(self, steps: int | None) -> str | None:
        """The warning for epochs of so many steps, where an optimizer is for all samples at once; None for none."""
        if not self.searches_step or steps is None or steps < 2:
            return None
        return (
            f"{type(self).__name__} solves every batch on its own, so that each step undoes others: it is for all "
            "samples at once. Take batch_size: full, in Keras the number of samples, or another optimizer. "
            f"Received: {steps} batches in an epoch."
        )

    _asked = False

    def direction(self, closure: Closure) -> list[tf.Tensor]:
        """The direction of the step on one replica, in place of the gradient: one tensor per variable."""
        raise NotImplementedError

    def step(self, closure: Closure) -> None:
        """Takes one step: computes the direction and applies the Keras optimizer to it."""
        direction, self._asked = self.direction(closure), True
        try:
            closure.apply(direction)
        finally:
            self._asked = False

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """The Keras optimizer's `apply`, to be called by `step` alone.

        Raises:
            InputError: The optimizer is given a gradient directly instead of a closure.
        """
        if not self._asked:
            raise InputError(
                f"{type(self).__name__} needs more than the gradient. Add tfopt.callbacks.ClosureStep() to the "
                "callbacks of fit; in a loop of your own call optimizer.step(tfopt.optimizers.Closure(model, x, y))."
            )
        self._apply(grads, trainable_variables)

    def _apply(self, grads: Any, trainable_variables: Any) -> None:
        super().apply(grads, trainable_variables)  # type: ignore[misc]


def needs_closure(optimizer: Any) -> ByClosure | None:
    """The optimizer that needs a closure: this one, or the one that Keras's loss scaling wraps; None if neither."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner if isinstance(inner, ByClosure) else None

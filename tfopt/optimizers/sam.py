"""Sharpness-aware minimization."""

from __future__ import annotations

from typing import Any, Self

import keras
import tensorflow as tf

from tfopt.errors import InputError
from tfopt.keras_private import share_step_count
from tfopt.optimizers.closure import ByClosure, Closure
from tfopt.optimizers.registry import OptimizerEntry

__all__ = ["SAM"]

LEAST = 1e-12  # smallest norm to divide by


@keras.saving.register_keras_serializable("tfopt")
class SAM(ByClosure, keras.optimizers.Optimizer):
    """Sharpness-aware minimization: any optimizer, with the gradient taken at the worst place nearby.

    With the gradient `g` at the weights `w`, the step is the inner optimizer's with the gradient at

        w + rho * g / ||g||                      (SAM)
        w + rho * w^2 g / || |w| g ||            (adaptive: ASAM, for which rho is about ten times as large)

    where the norm is over all weights. Flat minima lose less when weights are pruned or quantized. A step takes two
    forward and backward passes. Under a distribution strategy `g` is that of the whole batch, so that the step does not
    depend on the number of devices (the paper takes each device's own).

    Args:
        optimizer: The inner optimizer, or its name as Keras knows it. Learning rate, clipping, weight decay and the
            like are set on it.
        rho: The distance from the weights at which the gradient is taken, above 0.
        adaptive: Whether the distance is measured in the scale of each weight.
        name: The optimizer's name.

    Raises:
        InputError: A `rho` that is not above 0, or an inner optimizer that itself needs more than the gradient.

    References:
        Foret et al., Sharpness-aware minimization for efficiently improving generalization, arXiv:2010.01412.
        Kwon et al., ASAM: adaptive sharpness-aware minimization, arXiv:2102.11600.
        Na et al., Train flat, then compress, arXiv:2205.12694 (with pruning and quantization).
    """

    def __init__(self, optimizer: Any = "adam", rho: float = 0.05, adaptive: bool = False, name: str = "sam"):
        inner = keras.optimizers.get(optimizer)
        if isinstance(inner, ByClosure):
            raise InputError(f"SAM takes an optimizer that needs the gradient alone. Received: {type(inner).__name__}.")
        if not rho > 0:
            raise InputError(f"rho is a number above 0. Received: {rho}.", ("rho",))
        super().__init__(learning_rate=0.0, name=name)
        self.optimizer, self.rho, self.adaptive = inner, rho, adaptive
        share_step_count(self, inner)

    def direction(self, closure: Closure) -> list[tf.Tensor]:
        """The gradient at the perturbed weights."""
        gradients = closure.total(closure.gradients)
        if self.adaptive:
            scales = [tf.abs(weight) for weight in closure.weights]
            gradients = [gradient * scale for gradient, scale in zip(gradients, scales, strict=True)]
        length = self.rho / (tf.linalg.global_norm(gradients) + LEAST)
        offsets = [gradient * tf.cast(length, gradient.dtype) for gradient in gradients]
        if self.adaptive:
            offsets = [offset * scale for offset, scale in zip(offsets, scales, strict=True)]
        return closure.gradients_at([w + offset for w, offset in zip(closure.weights, offsets, strict=True)])

    def build(self, variables: Any) -> None:
        """Makes the inner optimizer's variables."""
        if not self.optimizer.built:
            self.optimizer.build(variables)
        super().build(variables)

    def _apply(self, grads: Any, trainable_variables: Any) -> None:
        if not self.built:
            self.build(trainable_variables)
        self.optimizer.apply(grads, trainable_variables)

    @property
    def variables(self) -> list[Any]:
        """Its own variables, and the inner optimizer's."""
        return [*super().variables, *self.optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's learning rate."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.optimizer.learning_rate = value

    @property
    def loss_scale_factor(self) -> Any:
        """The inner optimizer's loss scale."""
        return self.optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: Any) -> None:
        if "optimizer" in vars(self):  # Keras sets it before the inner optimizer is known
            self.optimizer.loss_scale_factor = value

    def scale_loss(self, loss: Any) -> Any:
        """The loss as the inner optimizer scales it."""
        return self.optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Lets the inner optimizer finalize the weights, such as by their moving average."""
        self.optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        inner = keras.saving.serialize_keras_object(self.optimizer)
        return {"optimizer": inner, "rho": self.rho, "adaptive": self.adaptive, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """An optimizer of these arguments."""
        inner = keras.saving.deserialize_keras_object(config["optimizer"], custom_objects=custom_objects)
        return cls(**{**config, "optimizer": inner})


ENTRY = OptimizerEntry("sam", SAM, {"optimizer": "adam"}, inner="optimizer")

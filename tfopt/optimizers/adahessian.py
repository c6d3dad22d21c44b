"""AdaHessian: Adam with the diagonal of the Hessian in the place of the squared gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfopt.errors import InputError
from tfopt.keras_private import merge_replicas, step_count, variable_index
from tfopt.optimizers.closure import ByClosure, Closure
from tfopt.optimizers.registry import OptimizerEntry

__all__ = ["AdaHessian"]


@keras.saving.register_keras_serializable("tfopt")
class AdaHessian(ByClosure, keras.optimizers.Optimizer):
    """AdaHessian: steps as long as the curvature of each weight allows.

    With the gradient `g`, a vector `z` of random signs and the Hessian `H` of the batch, at step t:

        d = z * (H z)                            (Hutchinson: the mean over z is the diagonal of H)
        s = mean of |d| over the window of a convolution's kernel; d itself elsewhere
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * s^2
        w = w - learning_rate * m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t))^hessian_power + epsilon)

    Args:
        learning_rate: Step size, or a Keras `LearningRateSchedule`.
        beta_1: Decay of the mean of the gradients, in [0, 1).
        beta_2: Decay of the mean of the squared diagonals, in [0, 1).
        epsilon: Added to the denominator, above 0.
        hessian_power: How much the curvature counts, 0-1; at 0 it is gradient descent with momentum.
        seed: The seed of the random signs, which depend on it and on the number of the step alone.
        name: The optimizer's name.
        **kwargs: The arguments that every Keras optimizer has, such as `weight_decay` and `clipnorm`.

    Raises:
        InputError: A value out of its range.

    References:
        Yao et al., AdaHessian: an adaptive second order optimizer for machine learning, arXiv:2006.00719.
        Hutchinson, A stochastic estimator of the trace of the influence matrix, Commun. Stat. Simul. 19 (1990).
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-4,
        hessian_power: float = 1.0,
        seed: int = 0,
        name: str = "adahessian",
        **kwargs: Any,
    ):
        for value, argument in ((beta_1, "beta_1"), (beta_2, "beta_2")):
            if not 0 <= value < 1:
                raise InputError(f"{argument} is in [0, 1). Received: {value}.", (argument,))
        if not epsilon > 0:
            raise InputError(f"epsilon is a number above 0. Received: {epsilon}.", ("epsilon",))
        if not 0 <= hessian_power <= 1:
            raise InputError(f"hessian_power is a fraction, 0-1. Received: {hessian_power}.", ("hessian_power",))
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.hessian_power, self.seed = hessian_power, seed

    def build(self, variables: Any) -> None:
        """Makes the two moving means and the slot for the diagonal of each variable."""
        if self.built:
            return
        super().build(variables)
        self._means, self._squares, self._diagonals = self.add_optimizer_variables(
            variables, ["momentum", "velocity", "diagonal"]
        )

    def direction(self, closure: Closure) -> list[tf.Tensor]:
        """The gradient; the diagonal is kept for the step."""
        if not self.built:
            self.build(closure.variables)
        signs = [self._signs(index, weight) for index, weight in enumerate(closure.weights)]
        gradients, products = closure.hessian_product(signs)
        diagonals = closure.total([sign * product for sign, product in zip(signs, products, strict=True)])
        merge_replicas(self, self._keep, [_averaged(diagonal) for diagonal in diagonals], closure.variables)
        return gradients

    def _signs(self, index: int, weight: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step_count(self).value, tf.int32)
        bits = tf.random.stateless_uniform(tf.shape(weight), [step, self.seed + 7919 * index], 0, 2, tf.int32)
        return tf.cast(2 * bits - 1, weight.dtype)

    def _keep(self, distribution: Any, diagonals: Sequence[Any], variables: Sequence[Any]) -> None:
        """Stores the diagonals where the step finds them; adds them up while gradients are accumulated."""

        def keep(slot: Any, diagonal: Any) -> None:
            slot.assign(slot + diagonal if self.gradient_accumulation_steps else diagonal)

        for variable, diagonal in zip(variables, diagonals, strict=True):
            slot = self._diagonals[variable_index(self, variable)]
            distribution.extended.update(slot.value, keep, args=(diagonal,), group=False)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The step of one variable."""
        index, dtype = variable_index(self, variable), variable.dtype
        mean, square, diagonal = self._means[index], self._squares[index], self._diagonals[index]
        count = ops.cast(self.iterations + 1, dtype)
        gradient, curvature = ops.cast(gradient, dtype), diagonal / (self.gradient_accumulation_steps or 1)
        self.assign_add(mean, (gradient - mean) * (1 - self.beta_1))
        self.assign_add(square, (ops.square(curvature) - square) * (1 - self.beta_2))
        if self.gradient_accumulation_steps:
            self.assign(diagonal, ops.zeros_like(diagonal))
        first = mean / (1 - ops.power(ops.cast(self.beta_1, dtype), count))
        second = square / (1 - ops.power(ops.cast(self.beta_2, dtype), count))
        divisor = ops.power(second, ops.cast(self.hessian_power / 2, dtype)) + self.epsilon
        self.assign_sub(variable, ops.cast(learning_rate, dtype) * first / divisor)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        names = ("beta_1", "beta_2", "epsilon", "hessian_power", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


ADAHESSIAN = OptimizerEntry("adahessian", AdaHessian)


def _averaged(diagonal: tf.Tensor) -> tf.Tensor:
    """The diagonal's magnitude averaged over the window of a kernel `(*window, inputs, outputs)`."""
    if len(diagonal.shape) < 3:
        return diagonal
    window = list(range(len(diagonal.shape) - 2))
    return tf.broadcast_to(tf.reduce_mean(tf.abs(diagonal), window, keepdims=True), diagonal.shape)

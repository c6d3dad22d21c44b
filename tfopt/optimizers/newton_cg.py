"""Newton's method without the Hessian: conjugate gradients on its products with vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfopt.errors import InputError, ModelError
from tfopt.optimizers.closure import ByClosure, Closure
from tfopt.optimizers.registry import OptimizerEntry

__all__ = ["NewtonCG"]

SUFFICIENT = 1e-4  # Armijo's constant: least share of the decrease that the gradient predicts
HALVINGS = 20


@keras.saving.register_keras_serializable("tfopt")
class NewtonCG(ByClosure, keras.optimizers.Optimizer):
    """Line search Newton-CG, for small models on large batches, best on all samples at once.

    With the gradient `g` and the Hessian `H` of the batch a step goes along `p`, where

        (H + damping * I) p = -g

    is solved by conjugate gradients until the residual is below `min(tolerance, sqrt(||g||)) * ||g||`, and stops where
    the curvature is not positive: there it takes what it has, or -g. `w + t p` is then the first of
    t = learning_rate, learning_rate / 2, ... at which the loss falls by at least `1e-4 * t * |g p|`; if none of 21
    does, the weights stay. Products with `H` take a forward and two backward passes each and no memory for `H`.

    Args:
        learning_rate: First step length t to try, or a Keras `LearningRateSchedule`.
        damping: Added to the curvature, 0 or above.
        iterations: Largest number of conjugate gradient iterations per step.
        tolerance: Residual, relative to the gradient, at which the iterations end, in (0, 1).
        name: The optimizer's name.
        **kwargs: The arguments that every Keras optimizer has; `gradient_accumulation_steps` is not for it.

    Raises:
        InputError: A value out of its range, or gradient accumulation, as each step solves its own batch.
        ModelError: When training begins: several replicas, or weights or a loss that are not float32.

    References:
        Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.1 (2006).
        Martens, Deep learning via Hessian-free optimization, ICML 2010.
    """

    searches_step = True

    def __init__(
        self,
        learning_rate: Any = 1.0,
        damping: float = 1e-4,
        iterations: int = 50,
        tolerance: float = 0.1,
        name: str = "newton_cg",
        **kwargs: Any,
    ):
        if not damping >= 0:
            raise InputError(f"damping is 0 or above. Received: {damping}.", ("damping",))
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise InputError(f"iterations is a whole number above 0. Received: {iterations}.", ("iterations",))
        if not 0 < tolerance < 1:
            raise InputError(f"tolerance is in (0, 1). Received: {tolerance}.", ("tolerance",))
        if kwargs.get("gradient_accumulation_steps"):
            raise InputError(
                "NewtonCG solves each batch on its own: make batch_size larger instead.",
                ("gradient_accumulation_steps",),
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.damping, self.cg_iterations, self.tolerance = damping, iterations, tolerance

    def direction(self, closure: Closure) -> list[tf.Tensor]:
        """The update to subtract from the weights, found by line search."""
        _refuse(closure)
        gradients = closure.gradients
        along = self._solve(closure, gradients)
        length = self._search(closure, gradients, along)
        return [-length * part for part in along]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Subtracts the update, which includes the learning rate."""
        self.assign_sub(variable, gradient)

    def _solve(self, closure: Closure, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        norm = tf.linalg.global_norm(gradients)
        enough = tf.minimum(self.tolerance, tf.sqrt(norm)) * norm
        downhill = [-gradient for gradient in gradients]

        def goes_on(count: Any, squared: Any, *_: Any) -> Any:
            return (count < self.cg_iterations) & (tf.sqrt(squared) > enough)

        def better(count: Any, squared: Any, found: Any, residual: Any, along: Any) -> Any:
            products = closure.hessian_product(along)[1]
            products = [p + self.damping * d for p, d in zip(products, along, strict=True)]
            curvature = _dot(along, products)
            bent = curvature <= 1e-12 * _dot(along, along)
            length = tf.where(bent, 0.0, squared / tf.where(bent, 1.0, curvature))
            found = [f + length * d for f, d in zip(found, along, strict=True)]
            residual = [r - length * p for r, p in zip(residual, products, strict=True)]
            now = _dot(residual, residual)
            along = [r + now / squared * d for r, d in zip(residual, along, strict=True)]
            return count + 1, tf.where(bent, 0.0, now), found, residual, along

        start = (tf.constant(0), norm**2, [tf.zeros_like(g) for g in gradients], downhill, downhill)
        found = tf.while_loop(goes_on, better, start)[2]
        nowhere = tf.equal(_dot(found, found), 0.0)
        return [tf.where(nowhere, d, f) for d, f in zip(downhill, found, strict=True)]

    def _search(self, closure: Closure, gradients: list[tf.Tensor], along: list[tf.Tensor]) -> tf.Tensor:
        slope, first = _dot(gradients, along), closure.loss
        rounding = 4 * 2.0**-23 * tf.abs(first)  # differences below it are none in float32

        def loss_after(length: tf.Tensor) -> tf.Tensor:
            return closure.loss_at([w + length * d for w, d in zip(closure.weights, along, strict=True)])

        def falls_short(length: Any, loss: Any, *_: Any) -> Any:
            return ~(loss <= first + SUFFICIENT * length * slope + rounding)  # a loss that is not a number, too

        def half(length: Any, _: Any, count: Any) -> Any:
            return length / 2, loss_after(length / 2), count + 1

        length = tf.convert_to_tensor(self.learning_rate, tf.float32)
        start = (length, loss_after(length), tf.constant(0))
        length, loss, _ = tf.while_loop(falls_short, half, start, maximum_iterations=HALVINGS)
        return tf.where(falls_short(length, loss), 0.0, length)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        own = {"damping": self.damping, "iterations": self.cg_iterations, "tolerance": self.tolerance}
        return {**super().get_config(), **own}


NEWTON_CG = OptimizerEntry("newton_cg", NewtonCG)


def _dot(left: Sequence[tf.Tensor], right: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(left, right, strict=True)])


def _refuse(closure: Closure) -> None:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise ModelError(f"NewtonCG trains on one device: it solves the whole batch at once. Received: {replicas}.")
    kinds = {tensor.dtype.name for tensor in (*closure.weights, *closure.gradients, closure.loss)}
    kinds |= closure.compute_dtypes
    if kinds != {"float32"}:
        raise ModelError(
            "NewtonCG compares losses, for which float32 is needed throughout. Train with precision float32. "
            f"Received: {', '.join(sorted(kinds))}."
        )

"""Numbers that learn from the gradient that comes back to them, beside the model's own optimizer.

They are no weights of the model: it is saved, compiled and counted without them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# Adam's own defaults.
_BETAS, _EPSILON = (0.9, 0.999), 1e-12


class LearnedVector:
    """A vector of sizes that learns by an Adam whose steps are shares of the sizes.

    It is a step on their logarithm, near enough, so that no learning rate depends on how large values are.

    Args:
        value: Where to begin.
        size: The sizes that a step is a share of.
        limits: The least and the largest that an entry can be.
        rate: The share.

    References:
        Kingma, Ba, Adam, arXiv:1412.6980; Jain et al., Trained quantization thresholds for accurate and efficient
        fixed-point inference, arXiv:1903.08066.
    """

    def __init__(self, value: np.ndarray, size: Callable[[], Any], limits: tuple[float, float], rate: float):
        self.value = mean_variable(value, trainable=True)
        self._size, self._limits, self._rate = size, limits, rate
        self._mean, self._square = mean_variable(np.zeros_like(value)), mean_variable(np.zeros_like(value))
        self._free, self._count = mean_variable(np.ones_like(value)), mean_variable(np.zeros(()))
        self.learns = True

    def start(self, value: np.ndarray, free: np.ndarray | None = None) -> None:
        """Begins anew.

        Args:
            value: Where.
            free: Which entries learn, 1 or 0; all, if not given.
        """
        self.value.assign(value.astype(np.float32))
        self._free.assign(np.ones_like(value, np.float32) if free is None else free.astype(np.float32))
        for variable in (self._mean, self._square, self._count):
            variable.assign(np.zeros(variable.shape, np.float32))

    def delivered(self) -> Any:
        """The value, whose gradient moves it on its way back; to be asked for once in a step."""

        @tf.custom_gradient
        def passed(now: Any) -> Any:
            def grad(gradient: Any) -> Any:
                if self.learns:
                    self._move(gradient)
                return tf.zeros_like(gradient)

            return tf.identity(now), grad

        return passed(self.value.read_value())

    def _move(self, gradient: Any) -> None:
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            gradient = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradient)
        size, count = self._size(), self._count.read_value() + 1
        gradient = gradient * size * self._free.read_value()  # with respect to the logarithm
        finite = tf.reduce_all(tf.math.is_finite(gradient))  # a scaled loss of float16 overflows now and then
        gradient = tf.where(finite, gradient, 0.0)
        mean = _BETAS[0] * self._mean.read_value() + (1 - _BETAS[0]) * gradient
        square = _BETAS[1] * self._square.read_value() + (1 - _BETAS[1]) * gradient * gradient
        step = mean / (1 - _BETAS[0] ** count) / (tf.sqrt(square / (1 - _BETAS[1] ** count)) + _EPSILON)
        new = tf.clip_by_value(self.value.read_value() - self._rate * size * step, *self._limits)
        moved = ((self._count, count), (self._mean, mean), (self._square, square), (self.value, new))
        for variable, after in moved:
            variable.assign(tf.where(finite, after, variable.read_value()))

    @property
    def variables(self) -> list[tf.Variable]:
        """All that it is."""
        return [self.value, self._mean, self._square, self._free, self._count]


def mean_variable(value: Any, trainable: bool = False) -> tf.Variable:
    """A variable that is the mean of what the replicas of a strategy assign to it."""
    return tf.Variable(np.asarray(value, np.float32), trainable=trainable, aggregation=tf.VariableAggregation.MEAN)

"""A constraint that trains shared values and lets each weight drift beside its value, so that it can take another."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.models.constraints import HeldConstraint
from tfopt.sparsity.coded_size import file_order
from tfopt.sparsity.entropy_clustering import CodedKernel

STATE = ("size", "positions", "weights", "values", "indices")


class DriftingValues(HeldConstraint):
    """Holds the weights of a kernel to shared values, which take the mean of the steps of their weights.

    Beside each weight stands what it would be if its steps had moved it alone, from which its next value is chosen. A
    weight that has become zero drifts on and may come back.

    Args:
        kernel: The kernel's shared values.
        shape: The kernel's shape.
        own: The variable's own constraint; None without.
        holder: The callback that holds the variable.

    References:
        Guo et al., Dynamic network surgery for efficient DNNs, arXiv:1608.04493 (weights that come back).
    """

    def __init__(self, kernel: CodedKernel, shape: tuple[int, ...], own: Any, holder: Any):
        super().__init__(own, holder)
        self._kernel, self._shape = kernel, shape
        once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        places = file_order(np.arange(kernel.size).reshape(shape))[kernel.positions]
        self._positions = tf.Variable(places[:, None].astype(np.int32), **once)
        self._moving = tf.constant(np.arange(kernel.values.size + 1) > 0, tf.float32)
        self._values = tf.Variable(np.append(0.0, kernel.values).astype(np.float32), **once)
        self._clusters = tf.Variable((kernel.indices + 1).astype(np.int32), **once)
        self._drifted = tf.Variable(kernel.weights.astype(np.float32), **once)

    def take(self, kernel: CodedKernel) -> None:
        """Takes other values, as many as before, and other choices of them."""
        self._values.assign(np.append(0.0, kernel.values))
        self._clusters.assign(kernel.indices + 1)

    def coded(self, importance: np.ndarray | None = None) -> CodedKernel:
        """The kernel as it is now.

        Args:
            importance: The importance of each weight, in the kernel's shape; that of the first kernel if not given.
        """
        chosen = None if importance is None else file_order(importance)[self._kernel.positions]
        return CodedKernel(
            self._kernel.positions,
            self._kernel.size,
            self._drifted.numpy().astype(np.float64),
            self._kernel.importance if chosen is None else chosen,
            self._values.numpy()[1:].astype(np.float64),
            self._clusters.numpy().astype(np.int64) - 1,
        )

    def get_state(self) -> dict[str, np.ndarray]:
        """The number of weights, which are not zero, where these have drifted to, the values, and that of each."""
        now = self.coded()
        return {name: np.asarray(getattr(now, name)) for name in STATE}

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights, each replaced by its value, which has taken the mean of the steps of its weights."""
        flat = tf.cast(tf.reshape(weights, [-1]), tf.float32)
        clusters, values = self._clusters.value(), self._values.value()
        steps = tf.gather_nd(flat, self._positions) - tf.gather(values, clusters)
        self._drifted.assign_add(steps)
        self._values.assign_add(self._moving * tf.math.unsorted_segment_mean(steps, clusters, values.shape[0]))
        return self.weights(weights.dtype)

    def weights(self, dtype: Any) -> tf.Tensor:
        """The kernel with every weight at its value."""
        shared = tf.gather(self._values.value(), self._clusters.value())
        filled = tf.scatter_nd(self._positions, shared, [self._kernel.size])
        return tf.cast(tf.reshape(filled, self._shape), dtype)

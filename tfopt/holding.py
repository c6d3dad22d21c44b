"""What keeps weights as they should be while a training goes on: constraints on their variables, and never saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class Held:
    """A variable's constraint for the length of a `fit()`: its own first, and then what a callback holds it to.

    It is a plain callable and not a `keras.constraints.Constraint`, so nothing of it is ever saved.

    Args:
        own: The variable's own constraint.
        holder: The callback.
    """

    def __init__(self, own: Any, holder: Any):
        self.own, self.holder = own, holder

    def __call__(self, weights: Any) -> tf.Tensor:
        """What Keras asks after each step of the optimizer."""
        return self.hold(tf.convert_to_tensor(self.own(weights) if self.own else weights))

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights as the callback wants them."""
        raise NotImplementedError


class Zeros(Held):
    """Holds the weights of a kernel that are zero at zero.

    Args:
        mask: Where the weights may be anything, in the kernel's shape; made where the model's variables are.
        own: The variable's own constraint.
        holder: The callback.
    """

    def __init__(self, mask: np.ndarray, own: Any, holder: Any):
        super().__init__(own, holder)
        once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.mask = tf.Variable(mask.astype(np.float32), **once)

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights with their zeros."""
        return weights * tf.cast(self.mask, weights.dtype)


class Shared(Held):
    """Holds every weight of a kernel to the mean of its cluster.

    Weights that are zero are left out of all sums, so a sparse kernel costs little.

    Args:
        indices: The cluster of each weight, in the kernel's shape; -1 where it is zero.
        own: The variable's own constraint.
        holder: The callback.
    """

    def __init__(self, indices: np.ndarray, own: Any, holder: Any):
        super().__init__(own, holder)
        self.indices = indices
        flat = indices.ravel()
        positions = np.flatnonzero(flat >= 0)
        _, first, clusters, sizes = np.unique(
            flat[positions], return_index=True, return_inverse=True, return_counts=True
        )
        once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        found = (positions, clusters, positions[first])
        self._positions, self._clusters, self._first = (tf.Variable(value.astype(np.int32), **once) for value in found)
        self._sizes = tf.Variable(sizes.astype(np.float32), **once)

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights with their shared values."""
        flat = tf.cast(tf.reshape(weights, [-1]), tf.float32)
        # The mean as a distance from one of the weights: equal weights stay what they are to the last bit.
        anchors = tf.gather(flat, self._first)
        apart = tf.gather(flat, self._positions) - tf.gather(anchors, self._clusters)
        moved = tf.math.unsorted_segment_sum(apart, self._clusters, anchors.shape[0])
        shared = tf.gather(anchors + moved / self._sizes, self._clusters)
        filled = tf.scatter_nd(self._positions[:, None], shared, tf.shape(flat))
        return tf.cast(tf.reshape(filled, tf.shape(weights)), weights.dtype)

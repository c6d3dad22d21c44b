"""Constraints that keep zeros and shared values of kernels while a training goes on, and that are never saved."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import ModelError
from tfopt.models.layers import Kernel, replaced_by


class HeldConstraint:
    """A variable's constraint for the length of a `fit()`: its own first, and then that of a callback.

    It is a plain callable and not a `keras.constraints.Constraint`, so nothing of it is ever saved.

    Args:
        own: The variable's own constraint; None without.
        holder: The callback or other object that holds the variable.
    """

    def __init__(self, own: Any, holder: Any):
        self.own, self.holder = own, holder

    def __call__(self, weights: Any) -> tf.Tensor:
        """The constrained weights, which Keras asks for after each step of the optimizer."""
        return self.hold(tf.convert_to_tensor(self.own(weights) if self.own else weights))

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights as the holder constrains them, of the same shape and dtype."""
        raise NotImplementedError


def own_constraint(kernel: Kernel, holder: Any) -> Any:
    """A kernel's own constraint, without those that callbacks of an interrupted `fit` left on it.

    A quantization-aware training that such a `fit` left on the kernel's layer is ended.

    Args:
        kernel: The kernel.
        holder: The callback that is going to hold the kernel.

    Raises:
        ModelError: Another callback of the same `fit` holds the kernel.
    """
    aware = replaced_by(kernel.place.layer)
    if aware is not None and aware.holder is not holder:
        _refuse_both(aware.holder, holder, kernel)
        if isinstance(aware.holder, keras.callbacks.Callback):
            aware.strip()
    constraint = kernel.variable.constraint
    while isinstance(constraint, HeldConstraint):
        if constraint.holder is not holder:
            _refuse_both(constraint.holder, holder, kernel)
        constraint = constraint.own
    return constraint


def _refuse_both(one: Any, other: Any, kernel: Kernel) -> None:
    params = [getattr(holder, "params", None) for holder in (one, other)]
    if params[0] is not None and params[0] is params[1]:  # Keras gives one dict to all of a fit's callbacks
        raise ModelError(
            f"{type(one).__name__} and {type(other).__name__} both hold {kernel.path} in one fit. Use one after the "
            "other: prune in a first fit, cluster in a second, which keeps the zeros, and train for quantization in "
            "a third, which keeps both."
        )


class ZeroConstraint(HeldConstraint):
    """Holds the weights of a kernel that are zero at zero.

    Args:
        mask: 1 where a weight is free, 0 where it is held at zero, in the kernel's shape.
        own: The variable's own constraint; None without.
        holder: The callback that holds the variable.
    """

    def __init__(self, mask: np.ndarray, own: Any, holder: Any):
        super().__init__(own, holder)
        once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.mask = tf.Variable(mask.astype(np.float32), **once)

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights, with zeros where the mask is 0."""
        return weights * tf.cast(self.mask, weights.dtype)


class SharedValueConstraint(HeldConstraint):
    """Holds every weight of a kernel to the mean of its cluster.

    Weights that are zero are left out of all sums, so a sparse kernel costs little.

    Args:
        indices: Index of each weight's cluster, integers in the kernel's shape; -1 where the weight is zero.
        own: The variable's own constraint; None without.
        holder: The callback that holds the variable.
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

    def get_state(self) -> dict[str, np.ndarray]:
        """The cluster of every weight."""
        return {"indices": self.indices}

    def hold(self, weights: tf.Tensor) -> tf.Tensor:
        """The weights, each replaced by the mean of its cluster."""
        flat = tf.cast(tf.reshape(weights, [-1]), tf.float32)
        # The mean as a distance from one of the weights: equal weights stay what they are to the last bit.
        anchors = tf.gather(flat, self._first)
        apart = tf.gather(flat, self._positions) - tf.gather(anchors, self._clusters)
        moved = tf.math.unsorted_segment_sum(apart, self._clusters, anchors.shape[0])
        shared = tf.gather(anchors + moved / self._sizes, self._clusters)
        filled = tf.scatter_nd(self._positions[:, None], shared, tf.shape(flat))
        return tf.cast(tf.reshape(filled, tf.shape(weights)), weights.dtype)

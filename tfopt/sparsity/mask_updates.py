"""Updates of pruning masks: computed from the weights at a sparsity, and applied to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.models.layers import Kernel
from tfopt.sparsity.allocations import ALLOCATIONS, Allocation
from tfopt.sparsity.magnitude import magnitude_threshold, shared_thresholds, sparsity_of
from tfopt.sparsity.patterns import NOfM, Pattern, Unstructured


class MaskUpdater:
    """Holds and updates one mask per kernel, outside of the model.

    Outside of a compiled step thresholds are found on the host, by selection; `update_in_graph` finds the same ones by
    sorting, for compiled steps that no callback can interrupt.

    Args:
        kernels: The kernels to prune.
        pattern: The pruning pattern: single weights, blocks, or n of m.
        targets: Final sparsity of each kernel, 0-1, from `allocate`; None for kernels that share one threshold.
        final: Final sparsity of the schedule, 0-1; each kernel's sparsity is the schedule's, scaled by target / final.
        strategy: The model's distribution strategy.
        allocation: Name of the allocation that ranks kernels with a shared threshold.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        pattern: Pattern,
        targets: Sequence[float | None],
        final: float,
        strategy: Any,
        allocation: str = "global",
    ):
        self.kernels, self.pattern, self._allocation = list(kernels), pattern, ALLOCATIONS[allocation]
        self._raw = [kernel.variable.value for kernel in kernels]
        with strategy.scope():
            mean = {"trainable": False, "aggregation": tf.VariableAggregation.MEAN}
            self.masks = [tf.Variable(tf.ones(w.shape, w.dtype), **mean) for w in self._raw]
        # Exactly 1 where the target is the schedule's own, so that its rounding is TF-MOT's.
        self._factors = [None if t is None else np.float32(t / final if final else 0.0) for t in targets]
        self._shared = [index for index, factor in enumerate(self._factors) if factor is None]
        self._renew, self._scores = tf.function(self._assign), tf.function(self._all_scores)
        self.apply = tf.function(self._multiply)

    def _assign(self, thresholds: list[Any]) -> None:
        for weights, mask, threshold in zip(self._raw, self.masks, thresholds, strict=True):
            keep = tf.cast(self.pattern.mask(weights, threshold), weights.dtype)
            mask.assign(keep)
            weights.assign(weights * keep)

    def _multiply(self) -> None:
        for weights, mask in zip(self._raw, self.masks, strict=True):
            weights.assign(weights * mask)

    def _all_scores(self) -> list[Any]:
        return [] if isinstance(self.pattern, NOfM) else [self.pattern.scores(weights) for weights in self._raw]

    def renew(self, sparsity: float) -> None:
        """Computes new masks from the current weights and applies them.

        Args:
            sparsity: The schedule's current sparsity, 0-1; the n of m pattern ignores it.
        """
        if isinstance(self.pattern, NOfM):
            thresholds = [0.0] * len(self.masks)
        else:
            plain = isinstance(self.pattern, Unstructured)  # whose scores NumPy makes without a copy for TensorFlow
            found = (kernel.variable.value.read_value() for kernel in self.kernels) if plain else self._scores()
            thresholds = self._thresholds([np.asarray(scores) for scores in found], sparsity)
        self._renew(
            [tf.constant(threshold, mask.dtype) for threshold, mask in zip(thresholds, self.masks, strict=True)]
        )

    def _thresholds(self, scores: list[np.ndarray], sparsity: float) -> list[float]:
        together = [scores[index] for index in self._shared]
        shared = iter(shared_thresholds(together, sparsity, self._allocation) if together else ())
        return [
            next(shared) if factor is None else magnitude_threshold(array, float(np.float32(sparsity) * factor))
            for array, factor in zip(scores, self._factors, strict=True)
        ]

    def update_in_graph(self, step: tf.Variable, schedule: Any) -> Callable[[], None]:
        """The conditional update and the masking of the weights, for use inside a traced step."""

        def thresholds(sparsity: Any) -> list[Any]:
            scores = self._all_scores()
            if not scores:
                return [0.0] * len(self.masks)
            together = [tf.reshape(tf.cast(scores[i], tf.float32), [-1]) for i in self._shared]
            shared = iter(_shared(together, sparsity, self._allocation) if together else ())
            return [
                tf.cast(next(shared), array.dtype)
                if factor is None
                else _threshold(tf.reshape(array, [-1]), sparsity * factor)
                for array, factor in zip(scores, self._factors, strict=True)
            ]

        def update() -> None:
            due, sparsity = schedule(step)
            tf.cond(due, lambda: self._in_branch(thresholds(tf.cast(sparsity, tf.float32))), tf.no_op)
            self._multiply()

        return update

    def _in_branch(self, thresholds: list[Any]) -> Any:
        self._assign(thresholds)
        return tf.no_op()

    def from_zeros(self) -> None:
        """Sets the masks from the zeros in the kernels."""
        for weights, mask in zip(self._raw, self.masks, strict=True):
            mask.assign((np.asarray(weights.read_value()) != 0).astype(mask.dtype.as_numpy_dtype))

    def sparsity(self) -> dict[str, float]:
        """The fraction of zeros of each kernel, by its path, such as `conv2d/kernel`."""
        return {kernel.path: sparsity_of(np.asarray(kernel.variable.value.read_value())) for kernel in self.kernels}


def _threshold(scores: Any, sparsity: Any) -> Any:
    """`magnitude_threshold` of a flat tensor of scores, in TensorFlow ops."""
    size = int(scores.shape[0])
    count = tf.cast(tf.maximum(tf.round(tf.cast(size, tf.float32) * (1 - sparsity)), 1), tf.int32)
    return tf.gather(tf.sort(scores, direction="DESCENDING"), count - 1)


def _shared(scores: list[Any], sparsity: Any, allocation: Allocation) -> list[Any]:
    """`shared_thresholds` of flat tensors of scores, in TensorFlow ops."""
    if allocation.rank_tensors is None:
        least = _threshold(tf.concat(scores, 0), sparsity)
        return [tf.minimum(least, tf.reduce_max(array)) for array in scores]
    ordered = [tf.sort(array) for array in scores]
    ranks = [allocation.rank_tensors(array) for array in ordered]
    least = _threshold(tf.concat(ranks, 0), sparsity)
    pairs = zip(ordered, ranks, strict=True)
    return [tf.minimum(tf.reduce_min(tf.where(r >= least, o, o.dtype.max)), o[-1]) for o, r in pairs]

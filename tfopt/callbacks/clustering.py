"""Weight sharing while `fit()` trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.callbacks.attached import Attached, refuse_combinations
from tfopt.errors import InputError, ModelError
from tfopt.layers import Kernel, matching
from tfopt.sparsity.clustering import cluster
from tfopt.sparsity.selection import choose_kernels

__all__ = ["Clustering"]


class _Shared:
    """A variable's constraint while clustered: its own first, then every weight becomes the mean of its cluster.

    It is a plain callable and not a `keras.constraints.Constraint`, so nothing of it is ever saved. Weights that are
    zero are left out of all sums, so a sparse kernel costs little.

    Args:
        indices: The cluster of each weight, in the kernel's shape; -1 where it is zero.
        count: Clusters.
        own: The variable's own constraint.
    """

    def __init__(self, indices: np.ndarray, count: int, own: Any):
        self.own = own
        once = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        some = {"dtype": tf.int32, "shape": [None], **once}
        self._positions, self._clusters = tf.Variable([0], **some), tf.Variable([0], **some)
        self._first = tf.Variable(tf.zeros([count], tf.int32), **once)
        self._sizes = tf.Variable(tf.ones([count]), **once)
        self.assign(indices)

    def assign(self, indices: np.ndarray) -> None:
        """Takes other clusters."""
        self.indices = indices
        flat = indices.ravel()
        positions = np.flatnonzero(flat >= 0)
        clusters, first, sizes = np.unique(flat[positions], return_index=True, return_counts=True)
        firsts, counts = np.zeros(self._first.shape, np.int32), np.ones(self._sizes.shape, np.float32)
        firsts[clusters], counts[clusters] = positions[first], sizes
        pairs = ((self._positions, positions), (self._clusters, flat[positions]))
        for variable, value in (*pairs, (self._first, firsts)):
            variable.assign(value.astype(np.int32))
        self._sizes.assign(counts)

    def __call__(self, weights: Any) -> tf.Tensor:
        weights = tf.convert_to_tensor(self.own(weights) if self.own else weights)
        flat = tf.cast(tf.reshape(weights, [-1]), tf.float32)
        # The mean as a distance from one of the weights: equal weights stay what they are to the last bit.
        anchors = tf.gather(flat, self._first)
        apart = tf.gather(flat, self._positions) - tf.gather(anchors, self._clusters)
        moved = tf.math.unsorted_segment_sum(apart, self._clusters, anchors.shape[0])
        shared = tf.gather(anchors + moved / self._sizes, self._clusters)
        filled = tf.scatter_nd(self._positions[:, None], shared, tf.shape(flat))
        return tf.cast(tf.reshape(filled, tf.shape(weights)), weights.dtype)


class Clustering(Attached):
    """Gives each kernel a few distinct values, found by k-means when `fit()` begins, and trains these.

    A weight stays in its cluster. After each step of the optimizer every weight becomes the mean of its cluster, so a
    shared value takes the mean of the steps of its weights. Exact zeros stay zeros. As `MagnitudePruning` it lives
    beside the model, which stays an ordinary Keras model at every moment.

    Args:
        clusters: How many distinct values a kernel may have, zero included.
        rules: Numbers of values by layer pattern; of several that match the last one counts, 0 leaves a layer alone.
        biases: Distinct values of each bias of the chosen layers; None leaves biases alone. In an int8 file a bias
            takes four bytes that hardly compress.
        only: Layer patterns; empty means every layer of a class that TF-MOT prunes.
        skip: Layer patterns to leave alone.
        prunable: Names of the weights to cluster by layer pattern, for layers that tfopt does not know.

    Raises:
        InputError: Fewer than two values.
        ModelError: When `fit` begins: a pattern that matches no layer, a model that is not built, or a way of training
            that Keras cannot combine.

    References:
        Han et al., Deep compression, arXiv:1510.00149.

    Example:
        ```python
        model.fit(x, y, epochs=5, callbacks=[tfopt.callbacks.Clustering(clusters=16)])
        ```
    """

    def __init__(
        self,
        clusters: int,
        *,
        rules: Mapping[str, int] | None = None,
        biases: int | None = None,
        only: str | Sequence[str] = (),
        skip: str | Sequence[str] = (),
        prunable: Mapping[str, Sequence[str]] | None = None,
    ):
        super().__init__()
        self.clusters, self.rules, self.biases = clusters, dict(rules or {}), biases
        self.prunable = dict(prunable or {})
        asked = [("clusters", clusters), ("biases", biases), *(("rules", n) for n in self.rules.values() if n)]
        for what, count in asked:
            if count is not None and count < 2:
                raise InputError(f"{what} is a number of distinct values, at least 2. Received: {what}={count}.")
        self.only = (only,) if isinstance(only, str) else tuple(only)
        self.skip = (skip,) if isinstance(skip, str) else tuple(skip)
        self.skipped: list[tuple[str, str]] = []
        self._kernels: list[Kernel] = []
        self._shared: list[_Shared] = []
        self._pending: Mapping[str, np.ndarray] | None = None
        self._attached = False

    def choose(self, model: keras.Model) -> list[tuple[Kernel, int]]:
        """The weights of a model to cluster, each with its number of values; the rest in `skipped`.

        Raises:
            ModelError: A pattern matches no layer, or nothing is left to cluster.
        """
        kernels, self.skipped = choose_kernels(model, self.only, self.skip, self.prunable)
        counts = {id(kernel.variable): self.clusters for kernel in kernels}
        for number, (pattern, count) in enumerate(self.rules.items()):
            try:
                places = matching([kernel.place for kernel in kernels], pattern, "rules")
            except ModelError as error:
                error.field = ("rules", number, "layers")
                raise
            counts |= {id(kernel.variable): count for kernel in kernels if kernel.place in places}
        left = [kernel for kernel in kernels if not counts[id(kernel.variable)]]
        self.skipped += [(path, "left alone by a rule") for path in dict.fromkeys(k.place.path for k in left)]
        chosen = [(kernel, counts[id(kernel.variable)]) for kernel in kernels if kernel not in left]
        if not chosen:
            raise ModelError("no layer is left to cluster: the rules leave them all alone.", ("rules",))
        return [*chosen, *self._chosen_biases([kernel for kernel, _ in chosen])]

    def _chosen_biases(self, kernels: Sequence[Kernel]) -> list[tuple[Kernel, int]]:
        places = {id(kernel.place.layer): kernel.place for kernel in kernels}
        found = [(place, getattr(place.layer, "bias", None)) for place in places.values()]
        own = [Kernel(place, "bias", bias) for place, bias in found if isinstance(bias, keras.Variable)]
        return [(kernel, self.biases) for kernel in own] if self.biases else []

    def values(self) -> dict[str, int]:
        """The number of distinct values of each clustered weight tensor, by its path, such as `conv2d/kernel`."""
        return {k.path: int(np.unique(np.asarray(k.variable.value.read_value())).size) for k in self._kernels}

    def get_state(self) -> dict[str, np.ndarray]:
        """The cluster of every weight, to go on from in another process with `set_state`."""
        return {f"indices{index}": shared.indices for index, shared in enumerate(self._shared)}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up what `get_state` gave; the next batch of `fit` goes on from there."""
        self._pending = dict(state)

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the clusters, sets the weights to them and hangs the sharing on the variables."""
        refuse_combinations(self.model)
        if not self.model.built:
            raise ModelError("the model has no weights yet, so there is nothing to cluster. Build it first.")
        self.detach()
        chosen = self.choose(self.model)
        self._kernels = [kernel for kernel, _ in chosen]
        self._shared = []
        with self.model.distribute_strategy.scope():
            for kernel, count in chosen:
                book = cluster(np.asarray(kernel.variable.value.read_value()), count)
                kernel.variable.assign(book.weights)
                indices = np.where(book.weights == 0, -1, book.indices)
                self._shared.append(_Shared(indices, count, kernel.variable.constraint))
        for kernel, shared in zip(self._kernels, self._shared, strict=True):
            kernel.variable.constraint = shared
        self._owner, self._attached = self.model, True
        self.model.make_train_function(force=True)  # fit() keeps a step traced earlier, without these constraints

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Takes up a state that was set; other callbacks restore weights when training begins."""
        if self._pending is None:
            return
        for index, shared in enumerate(self._shared):
            indices = self._pending.get(f"indices{index}")
            if indices is None or indices.shape != shared.indices.shape:
                raise ModelError("the state is of other layers: its clusters do not fit these kernels.")
            shared.assign(indices)
        self._pending = None

    def on_train_end(self, logs: Any = None) -> None:
        """Shares a last time (an optimizer's weight average is of all values) and lets go of the model."""
        for kernel, shared in zip(self._kernels, self._shared, strict=True):
            kernel.variable.assign(shared(kernel.variable))
        self.detach()

    def detach(self) -> None:
        """Gives the model back as it was, with its shared values; `fit` does it at its end."""
        if not self._attached:
            return
        self._attached = False
        for kernel, shared in zip(self._kernels, self._shared, strict=True):
            kernel.variable.constraint = shared.own
        self._owner.make_train_function(force=True)

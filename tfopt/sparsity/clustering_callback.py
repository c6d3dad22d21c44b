"""The Keras callback for weight clustering."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import InputError, ModelError, TfoptWarning
from tfopt.models.attachment import ConstraintCallback, refuse_combinations
from tfopt.models.constraints import SharedValueConstraint
from tfopt.models.layers import Kernel, Rules, as_rules, by_rules, operations
from tfopt.models.requirements import check_weights
from tfopt.sparsity.clustering import cluster
from tfopt.sparsity.coded_updates import CodedUpdates
from tfopt.sparsity.drifting_values import STATE, DriftingValues
from tfopt.sparsity.entropy_clustering import CodedKernel, coded_kernel
from tfopt.sparsity.selection import UNASKED, choose_kernels, rules_on_trained

__all__ = ["Clustering"]

FOREIGN_STATE = "the state is of other layers: its clusters do not fit these kernels."


class Clustering(ConstraintCallback):
    """Gives each kernel a few distinct values, found by k-means when `fit()` begins, and trains these.

    A weight stays in its cluster. After each step of the optimizer every weight becomes the mean of its cluster, so a
    shared value takes the mean of the steps of its weights. Exact zeros stay zeros. As `MagnitudePruning` it lives
    beside the model, which stays an ordinary Keras model at every moment. Layers with a kernel that it leaves alone
    though nobody asked for it are a `tfopt.TfoptWarning` when `fit` begins; `skipped` lists them all.

    With `coded_bytes` the values, and which further weights become zero, are chosen anew at 200 of the steps: each
    weight takes the value of least squared error and code length, all kernels together taking fewer bytes each time.
    How much an error matters is read from the optimizer's second moments, where it has them, as Adam does. Too few
    bytes, which cannot be reached or leave a kernel without weights, are a `tfopt.TfoptWarning` as `fit` ends.

    Args:
        clusters: Largest number of distinct values of a kernel, zero included.
        rules: Numbers of values by layer pattern, such as `{"head": 32}`; of several that match the last one counts, 0
            leaves a layer alone.
        biases: Distinct values of each bias of the chosen layers; None leaves biases alone. In an int8 file a bias
            takes four bytes that hardly compress.
        only: Layer patterns; empty means every layer of a class that TF-MOT prunes.
        skip: Layer patterns to leave alone.
        prunable: Names of the weights to cluster by layer pattern, for layers that tfopt does not know.
        coded_bytes: Bytes that `gzip` may make of all the kernels' integers in the end; None counts none.
        end: With `coded_bytes`: share of the training after which the choice stays, 0-1.

    Raises:
        InputError: A number of values below 2, or an end that is no share.
        ModelError: When `fit` begins: a pattern that matches no layer, a model that is not built, or a way of training
            that Keras cannot combine.

    References:
        Han et al., Deep compression, arXiv:1510.00149.
        Choi et al., Towards the limit of network quantization, arXiv:1612.01543 (values by error and code length).

    Example:
        ```python
        model.fit(x, y, epochs=5, callbacks=[tfopt.callbacks.Clustering(clusters=16)])
        ```
    """

    def __init__(
        self,
        clusters: int,
        *,
        rules: Rules[int] | None = None,
        biases: int | None = None,
        only: str | Sequence[str] = (),
        skip: str | Sequence[str] = (),
        prunable: Mapping[str, Sequence[str]] | None = None,
        coded_bytes: int | None = None,
        end: float = 0.75,
    ):
        super().__init__()
        self.clusters, self.rules, self.biases = clusters, as_rules(rules), biases
        self.prunable = dict(prunable or {})
        asked = [("clusters", clusters), ("biases", biases), *(("rules", n) for _, n in self.rules if n)]
        for what, count in asked:
            if count is not None and count < 2:
                raise InputError(f"{what} is a number of distinct values, at least 2. Received: {what}={count}.")
        self.only = (only,) if isinstance(only, str) else tuple(only)
        self.skip = (skip,) if isinstance(skip, str) else tuple(skip)
        self.skipped: list[tuple[str, str]] = []
        self._chosen: list[tuple[Kernel, int]] = []
        self._kernels: list[Kernel] = []
        self._shared: list[SharedValueConstraint | DriftingValues] = []
        self._updates = None if coded_bytes is None else CodedUpdates(coded_bytes, end)
        self._pending: Mapping[str, np.ndarray] | None = None

    def choose(self, model: keras.Model) -> list[tuple[Kernel, int]]:
        """The weights of a model to cluster, each with its number of values; skipped layers go to `skipped`.

        Raises:
            ModelError: A pattern matches no layer, or nothing is left to cluster.
        """
        kernels, self.skipped = choose_kernels(model, self.only, self.skip, self.prunable, self.rules)
        counts = {id(kernel.variable): self.clusters for kernel in kernels}
        rules = rules_on_trained(model, self.rules, self.skipped)
        ruled = by_rules([kernel.place for kernel in kernels], rules, list(operations(model)))
        counts |= {id(k.variable): count for k, count in zip(kernels, ruled, strict=True) if count is not None}
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
        """The cluster of every weight, to continue in another process with `set_state`."""
        state = {f"{name}{index}": a for index, s in enumerate(self._shared) for name, a in s.get_state().items()}
        return state | (self._updates.get_state() if self._updates else {})

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a state of `get_state`; the next batch of `fit` continues from it."""
        self._pending = dict(state)

    def on_train_begin(self, logs: Any = None) -> None:
        """Chooses the kernels."""
        refuse_combinations(self.model)
        check_weights(self.model, ", so there is nothing to cluster. Build it first.")
        if self._updates and self.model.distribute_strategy.num_replicas_in_sync > 1:
            raise ModelError("coded_bytes is for a training on one device. Leave it out, or train on one.")
        self.detach()
        self._chosen, self._synced = self.choose(self.model), False
        self._tell([(path, reason) for path, reason in self.skipped if reason in UNASKED])
        self._own_constraints([kernel for kernel, _ in self._chosen])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch, which says how far the training is."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Finds the clusters before the first step, and chooses anew where it is time."""
        if not self._synced:
            self._sync()  # here and not earlier: other callbacks restore weights when training begins
        if self._updates and (number := self._updates.due(self.params, self._epoch, batch)):
            self._updates.choose(self.model.optimizer, number)

    def _sync(self) -> None:
        """Sets the weights to their shared values, from k-means or from a restored state, and constrains them."""
        self._kernels = [kernel for kernel, _ in self._chosen]
        own = self._own_constraints(self._kernels)
        make = [self._drifting if self._counts(kernel) else self._sharing for kernel in self._kernels]
        with self.model.distribute_strategy.scope():
            self._shared = [one(index, mine) for index, (one, mine) in enumerate(zip(make, own, strict=True))]
        if self._updates:
            pairs = zip(self._kernels, self._shared, strict=True)
            self._updates.begin([(k, s) for k, s in pairs if isinstance(s, DriftingValues)], self._pending)
        self._hold(self._kernels, self._shared)
        self._pending, self._synced = None, True

    def _counts(self, kernel: Kernel) -> bool:
        """Whether the bytes of a kernel are counted."""
        return self._updates is not None and kernel.attribute != "bias"

    def _kept(self, name: str, index: int) -> np.ndarray:
        """An array of the state that is being restored."""
        kept = (self._pending or {}).get(f"{name}{index}")
        if kept is None:
            raise ModelError(FOREIGN_STATE)
        return kept

    def _sharing(self, index: int, own: Any) -> SharedValueConstraint:
        """The constraint of weights that stay in their clusters."""
        kernel, count = self._chosen[index]
        weights = np.asarray(kernel.variable.value.read_value())
        if self._pending:
            indices = self._kept("indices", index)
            if indices.shape != weights.shape:
                raise ModelError(FOREIGN_STATE)
        else:
            book = cluster(weights, count)
            indices = np.where(book.weights == 0, -1, book.indices)
            kernel.variable.assign(book.weights)
        return SharedValueConstraint(indices, own, self)

    def _drifting(self, index: int, own: Any) -> DriftingValues:
        """The constraint of weights that take other values as they drift."""
        kernel, count = self._chosen[index]
        weights = np.asarray(kernel.variable.value.read_value())
        if self._pending:
            size, positions, drifted, values, indices = (self._kept(name, index) for name in STATE)
            if size != weights.size:
                raise ModelError(FOREIGN_STATE)
            one = CodedKernel(positions, weights.size, drifted, np.ones(positions.size), values, indices)
        else:
            book = cluster(weights, count)
            one = coded_kernel(weights, book)
            kernel.variable.assign(book.weights)
        return DriftingValues(one, weights.shape, own, self)

    def on_train_end(self, logs: Any = None) -> None:
        """Applies the clusters once more (an optimizer's weight average breaks them) and detaches from the model."""
        if not self._synced:
            self._sync()
        for kernel, shared in self._held:
            kernel.variable.assign(shared.hold(tf.convert_to_tensor(kernel.variable)))
        self.detach()
        if self._updates and not self._updates.ended:
            warnings.warn("clustering stopped before its end: more bytes than coded_bytes.", stacklevel=2)
        elif self._updates and (remark := self._updates.remark()):
            warnings.warn(remark, TfoptWarning, stacklevel=2)

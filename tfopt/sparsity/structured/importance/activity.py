"""`activity`: how often and how strongly a channel fires on samples.

References:
    Hu et al., Network trimming, arXiv:1607.03250 (its average percentage of zeros).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.sparsity.structured.channel_ids import Ids
from tfopt.sparsity.structured.importance import ChannelScore, batches, groups_of

if TYPE_CHECKING:
    from tfopt.sparsity.structured.dependency_graph import DependencyGraph

# An activation below this share of its layer's largest counts as silent.
SILENT = 1e-3


def activity(structure: DependencyGraph, x: Any) -> dict[int, float]:
    """Frequency times mean strength of a channel's activations on samples, where it is read.

    A channel fires where its magnitude is above `SILENT` of the largest of its tensor in a batch. Of a channel that is
    read in several places the largest value counts.

    Args:
        structure: The dependency graph of the model.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name.
    """
    best = np.full(len(structure.channels), -1.0)
    for seen, ids in _readings(structure, x):
        which, places = np.unique(ids, return_inverse=True)  # after a Flatten, a channel is read at many places
        mean = np.bincount(places, seen) / np.bincount(places)
        best[which] = np.maximum(best[which], mean)
    found: dict[int, float] = {}
    for channel in np.flatnonzero(best >= 0).tolist():
        root = int(structure.roots[channel])
        found[root] = max(found.get(root, 0.0), float(best[channel]))
    wanted = groups_of(structure)
    return {group: found[group] for group in wanted if group in found}


def _readings(structure: DependencyGraph, x: Any) -> Iterator[tuple[np.ndarray, Ids]]:
    """For each input of each layer that reads channels: the activity at each index, and the channel numbers."""
    import tensorflow as tf

    from tfopt.models.layers import replaced_by

    watches: dict[int, _Watch] = {}
    for call, (inputs, _) in zip(structure.calls, structure.tensors, strict=True):
        flow, layer = structure.flows.get(id(call.operation)), call.operation
        if flow is None or not any(axis.role == "takes" for axis in flow.axes):
            continue
        watches[id(layer)] = _Watch(layer, -1, inputs[0].ids)
        if call.kind == "MultiHeadAttention":
            last = layer.output_dense
            heads = next(axis.ids for axis in flow.axes if axis.role == "takes" and axis.variable is last.kernel)
            watches[id(last)] = _Watch(last, -2, heads)
    with contextlib.ExitStack() as stack:
        for watch in watches.values():
            stack.enter_context(watch.on())
        # A simulation of quantization reuses graphs that were built without the observers.
        model = structure.model if replaced_by(structure.model) is None else tf.function(structure.model)
        for part in batches(x):
            model(part, training=False)
    yield from ((watch.total / watch.places, watch.ids) for watch in watches.values() if watch.places)


class _Watch:
    """Sums the activity of a layer's inputs.

    Args:
        layer: The layer.
        axis: The axis of the channels in the layer's first argument.
        ids: Channel numbers along that axis.
    """

    def __init__(self, layer: Any, axis: int, ids: Ids):
        self._layer, self._axis, self.ids = layer, axis, ids
        self.total, self.places = np.zeros(len(ids)), 0

    def _add(self, values: np.ndarray) -> None:
        magnitudes = np.abs(np.moveaxis(values, self._axis, -1))
        magnitudes = magnitudes.reshape(-1, magnitudes.shape[-1])
        fires = magnitudes > SILENT * magnitudes.max(initial=0.0)
        self.total += np.where(fires, magnitudes, 0).sum(axis=0, dtype=np.float64)
        self.places += len(magnitudes)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watches the layer's calls within the block."""
        import tensorflow as tf

        from tfopt.models.layers import call_replaced

        original = self._layer.call

        def call(first: Any, *args: Any, **rest: Any) -> Any:
            tf.numpy_function(self._add, [tf.cast(first, tf.float32)], [])  # also in a graph
            return original(first, *args, **rest)

        with call_replaced(self._layer, call):
            yield


ACTIVITY = ChannelScore(
    "activity",
    "How often and how strongly it fires on training samples.",
    lambda structure, inputs: activity(structure, inputs.x),
    needs_samples=True,
    rank=3,
)

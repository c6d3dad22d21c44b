"""How much each group of channels is worth: one function for each criterion.

Every function takes the `DependencyGraph` of a model and returns a score for each group, by its number; the higher, the
more the group is worth. A group that the criterion says nothing of has none.

References:
    Li et al., Pruning filters for efficient ConvNets, arXiv:1608.08710 (magnitude).
    Fang et al., DepGraph: towards any structural pruning, arXiv:2301.12900 (magnitude over all that goes together).
    Liu et al., Learning efficient convolutional networks through network slimming, arXiv:1708.06519 (batchnorm).
    Molchanov et al., Importance estimation for neural network pruning, arXiv:1906.10771 (taylor).
    Hu et al., Network trimming, arXiv:1607.03250 (activity: its average percentage of zeros).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import InputError
from tfopt.losses import build_loss
from tfopt.models.layers import call_replaced, replaced_by
from tfopt.sparsity.structured.channel_ids import Ids
from tfopt.sparsity.structured.dependency_graph import DependencyGraph

SCORES = ("l1", "l2", "activity", "batchnorm", "taylor", "random")
# Scores that look at samples, and at labels too.
ON_DATA, ON_LABELS = ("activity", "taylor"), ("taylor",)
# An activation below this share of its layer's largest counts as silent.
SILENT = 1e-3
BATCH = 64


def score(
    structure: DependencyGraph, name: str, x: Any = None, y: Any = None, loss: Any = None, seed: int = 0
) -> dict[int, float]:
    """The scores of all groups by one criterion.

    Args:
        structure: The model.
        name: One of `SCORES`.
        x: `(samples, ...)`, or a dict of such arrays by input name, for those in `ON_DATA`.
        y: Their labels, for those in `ON_LABELS`.
        loss: A Keras loss, for those in `ON_LABELS`; the one that the model is compiled with if not given.
        seed: Of the random score.

    Raises:
        InputError: Another name, or samples, labels or a loss are missing.
    """
    if name not in SCORES:
        raise InputError(f"score is one of {', '.join(SCORES)}. Received: score={name!r}.", ("score",))
    if (name in ON_DATA and x is None) or (name in ON_LABELS and y is None):
        what = "samples and their labels: hand over x and y" if name in ON_LABELS else "samples: hand over x"
        raise InputError(f"the score {name} looks at {what}.", ("score",))
    if name in ("l1", "l2"):
        return magnitude(structure, int(name[1]))
    if name == "batchnorm":
        return batchnorm(structure)
    if name == "random":
        return random(structure, seed)
    return activity(structure, x) if name == "activity" else taylor(structure, x, y, loss)


def magnitude(structure: DependencyGraph, order: int = 2) -> dict[int, float]:
    """The L1 or L2 norm of all weights of a group: those that make its channels and those that read them.

    Args:
        structure: The model.
        order: 1 or 2.
    """
    total = np.zeros(len(structure.channels))
    for _, axis in structure.axes:
        if len(axis.variable.shape) > 1:
            values = np.abs(axis.variable.numpy().astype(np.float64)) ** order
            others = tuple(i for i in range(values.ndim) if i != axis.axis)
            np.add.at(total, axis.ids, values.sum(axis=others))
    return {group: value ** (1 / order) for group, value in _by_group(structure, total).items()}


def batchnorm(structure: DependencyGraph) -> dict[int, float]:
    """The mean of a group's absolute BatchNorm scales; only groups that a BatchNorm with a scale follows have one."""
    total, count = np.zeros(len(structure.channels)), np.zeros(len(structure.channels))
    for call, axis in structure.axes:
        if call.kind == "BatchNormalization" and axis.variable is call.operation.gamma:
            np.add.at(total, axis.ids, np.abs(axis.variable.numpy().astype(np.float64)))
            np.add.at(count, axis.ids, 1)
    counts = _by_group(structure, count)
    return {group: value / counts[group] for group, value in _by_group(structure, total).items() if counts[group]}


def random(structure: DependencyGraph, seed: int = 0) -> dict[int, float]:
    """Random scores, the baseline that every other has to beat."""
    groups = _groups(structure)
    return dict(zip(groups, np.random.default_rng(seed).random(len(groups)).tolist(), strict=True))


def activity(structure: DependencyGraph, x: Any) -> dict[int, float]:
    """How often a channel fires times how strongly it does then, where it is read, on samples.

    A channel fires where its magnitude is above `SILENT` of the largest of its tensor, by batches of `BATCH`. Of a
    channel that is read in several places the largest value counts.

    Args:
        structure: The model.
        x: `(samples, ...)`, or a dict of such arrays by input name.
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
    wanted = _groups(structure)
    return {group: found[group] for group in wanted if group in found}


def taylor(structure: DependencyGraph, x: Any, y: Any, loss: Any = None) -> dict[int, float]:
    """The change of the loss, to first order, when a group's weights go: the mean over batches of `sum(g * w) ** 2`.

    The sum goes over the weights and biases that make the group's channels, `g` is the loss's gradient.

    Args:
        structure: The model.
        x: `(samples, ...)`, or a dict of such arrays by input name.
        y: `(samples, ...)`.
        loss: A Keras loss, or its name; the one that the model is compiled with if not given.

    Raises:
        InputError: There is no loss.
    """
    model = structure.model
    loss = build_loss(loss) or getattr(model, "loss", None)
    if isinstance(loss, dict | list):
        raise InputError("the score taylor is for models of one output. Take another score.", ("score",))
    loss = keras.losses.get(loss)
    if loss is None:
        raise InputError("the score taylor needs a loss: compile the model, or hand it over.", ("score",))
    makes = [axis for _, axis in structure.axes if axis.role == "makes" and axis.variable.trainable]
    variables = list({id(axis.variable): axis.variable for axis in makes}.values())
    total, batches = dict.fromkeys(_groups(structure), 0.0), 0
    for part, labels in zip(_batches(x), _batches(y), strict=True):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(labels, model(part, training=False)))
        given = tape.gradient(value, [variable.value for variable in variables])
        by_variable = {id(v): _product(v, gradient) for v, gradient in zip(variables, given, strict=True)}
        change = np.zeros(len(structure.channels))
        for axis in makes:
            product = by_variable[id(axis.variable)]
            np.add.at(change, axis.ids, product.sum(axis=tuple(i for i in range(product.ndim) if i != axis.axis)))
        for group, moved in _by_group(structure, change).items():
            total[group] += moved**2
        batches += 1
    return {group: value / batches for group, value in total.items()}


def _product(variable: Any, gradient: Any) -> np.ndarray:
    weights = variable.numpy().astype(np.float64)
    if gradient is None:
        return np.zeros_like(weights)
    return weights * np.asarray(tf.convert_to_tensor(gradient), np.float64)


def _groups(structure: DependencyGraph) -> list[int]:
    return [group for family in structure.families for group in family.groups]


def _by_group(structure: DependencyGraph, values: np.ndarray) -> dict[int, float]:
    """Values of channels added up by group."""
    total = np.zeros(len(structure.channels))
    np.add.at(total, structure.roots, values)
    return {group: float(total[group]) for group in _groups(structure)}


def _batches(arrays: Any) -> Iterator[Any]:
    count = len(next(iter(arrays.values())) if isinstance(arrays, dict) else arrays)
    for start in range(0, count, BATCH):
        chosen = slice(start, start + BATCH)
        yield {k: v[chosen] for k, v in arrays.items()} if isinstance(arrays, dict) else arrays[chosen]


def _readings(structure: DependencyGraph, x: Any) -> Iterator[tuple[np.ndarray, Ids]]:
    """For each input of each layer that reads channels: how often times how strongly each fires; and which they are."""
    watches: dict[int, _Watch] = {}
    for call, (inputs, _) in zip(structure.calls, structure.tensors, strict=True):
        flow, layer = structure.flows.get(id(call.operation)), call.operation
        if flow is None or not any(axis.role == "takes" for axis in flow.axes):
            continue
        watches[id(layer)] = _Watch(layer, -1, inputs[0].ids)
        if call.kind == "MultiHeadAttention":
            last = layer._output_dense
            heads = next(axis.ids for axis in flow.axes if axis.role == "takes" and axis.variable is last.kernel)
            watches[id(last)] = _Watch(last, -2, heads)
    with contextlib.ExitStack() as stack:
        for watch in watches.values():
            stack.enter_context(watch.on())
        # A simulation of quantization keeps the graphs that it has built, in which nobody watches.
        model = structure.model if replaced_by(structure.model) is None else tf.function(structure.model)
        for part in _batches(x):
            model(part, training=False)
    yield from ((watch.total / watch.places, watch.ids) for watch in watches.values() if watch.places)


class _Watch:
    """Adds up the magnitudes of what a layer is called with, where it fires.

    Args:
        layer: The layer.
        axis: Of its first argument: that of the channels.
        ids: The channels.
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
        """Watches for the length of the block."""
        original = self._layer.call

        def call(first: Any, *args: Any, **rest: Any) -> Any:
            tf.numpy_function(self._add, [tf.cast(first, tf.float32)], [])  # also in a graph
            return original(first, *args, **rest)

        with call_replaced(self._layer, call):
            yield


def normalized(structure: DependencyGraph, scores: dict[int, float]) -> dict[int, float]:
    """Scores over the mean of their family, so that those of different layers can be compared."""
    found = {}
    for family in structure.families:
        known = [group for group in family.groups if group in scores]
        mean = float(np.mean([scores[group] for group in known])) if known else 0.0
        found.update({group: scores[group] / mean if mean else 0.0 for group in known})
    return found

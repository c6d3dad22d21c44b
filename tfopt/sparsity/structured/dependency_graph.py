"""The dependency graph of a model: groups of coupled channels, each of which can only be removed as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tfopt.errors import ModelError
from tfopt.models.graph import graph_of, nodes_of
from tfopt.sparsity.structured import layer_rules, shape_rules
from tfopt.sparsity.structured.channel_ids import Channels, Ids
from tfopt.sparsity.structured.propagation import Axis, Call, Flow, flow_of

__all__ = ["CoupledGroups", "DependencyGraph", "read"]

_TABLES = (layer_rules, shape_rules)  # imported for their rules


@dataclass(frozen=True)
class CoupledGroups:
    """A family of groups: those of layers whose channels are coupled, such as by a residual sum.

    Args:
        paths: The layers that make the channels.
        groups: Numbers of the groups.
        width: Channels of each of these layers, including those that cannot be removed.
        single: Whether their number is not to be rounded, as with the heads of an attention.
    """

    paths: tuple[str, ...]
    groups: tuple[int, ...]
    width: int
    single: bool

    @property
    def multiple(self) -> int:
        """Channels per group: more than one where a grouped convolution couples several of one layer."""
        return max(1, round(self.width / len(self.groups)))


@dataclass(frozen=True, eq=False)
class ChannelStream:
    """The channels of one tensor of a model, shared between a nested model and its caller.

    Args:
        ids: Channel numbers along the last axis, `(channels,)`.
    """

    ids: Ids


@dataclass
class DependencyGraph:
    """The groups of coupled channels of a model, and all weights that go along them.

    Args:
        model: The model.
        channels: The numbers of all channels, joined into groups.
        calls: The ops in order of execution, ops of nested models in place.
        flows: The channel flow through each layer, by the layer's identity.
        tensors: The input and output streams of each call.
        borders: Channel numbers of the inputs of each nested model, by its identity.
        families: The families of groups that can be removed.
        skipped: Layers and operations that stay as they are, with the reason.
        roots: The group of every channel, `(channels,)`.
    """

    model: keras.Model
    channels: Channels
    calls: list[Call] = field(default_factory=list)
    flows: dict[int, Flow] = field(default_factory=dict)
    tensors: list[tuple[tuple[ChannelStream, ...], tuple[ChannelStream, ...]]] = field(default_factory=list)
    borders: dict[int, tuple[Ids, ...]] = field(default_factory=dict)
    families: tuple[CoupledGroups, ...] = ()
    skipped: list[tuple[str, str]] = field(default_factory=list)
    roots: Ids = field(default_factory=lambda: np.zeros(0, int))

    @property
    def axes(self) -> Iterator[tuple[Call, Axis]]:
        """All weight axes that run along channels, each layer once."""
        seen = set()
        for call in self.calls:
            if id(call.operation) not in seen and id(call.operation) in self.flows:
                seen.add(id(call.operation))
                yield from ((call, axis) for axis in self.flows[id(call.operation)].axes)

    def spared(self, drop: set[int], worth: Mapping[int, float], floor: float = 0.0) -> set[int]:
        """Reduces groups to remove by the best ones of layers that would keep too few channels.

        Args:
            drop: The groups to remove.
            worth: Score of each group.
            floor: Least fraction of its channels that a layer keeps, 0-1; at least one channel stays.
        """
        gone = np.zeros(len(self.channels), bool)
        gone[list(drop)] = True
        for _, axis in self.axes:
            roots = self.roots[axis.ids]
            lacking = max(math.ceil(floor * len(roots)), 1) - np.sum(~gone[roots])
            if axis.role == "makes" and lacking > 0:
                best = sorted(np.unique(roots[gone[roots]]).tolist(), key=lambda root: -worth[root])
                counts = np.cumsum([np.sum(roots == root) for root in best])
                gone[best[: int(np.searchsorted(counts, lacking)) + 1]] = False
        return set(np.flatnonzero(gone).tolist())

    def left(self, drop: Iterable[int]) -> np.ndarray:
        """The mask of channels that are left when groups are removed, `(channels,)` bool."""
        return ~np.isin(self.roots, np.fromiter(drop, int))


def read(model: keras.Model) -> DependencyGraph:
    """The dependency graph of a functional or Sequential model; layers that tfopt does not know are barriers.

    Raises:
        ModelError: The model has no graph: it is subclassed, or not built.
    """
    graph = graph_of(model) if model.built else None
    if graph is None:
        raise ModelError(
            "channels are removed from functional and Sequential models that are built: a subclassed model has no "
            f"graph to follow them through. Received: {type(model).__name__}, built={model.built}."
        )
    structure = DependencyGraph(model, Channels())
    streams = {
        id(tensor): ChannelStream(_outside(structure.channels, tensor, "the model's inputs stay"))
        for tensor in graph.inputs
    }
    _walk(structure, graph, streams, "")
    for tensor in graph.outputs:
        structure.channels.keep(streams[id(tensor)].ids, "the model's outputs stay")
    structure.roots = structure.channels.roots()
    structure.families = tuple(_families(structure))
    return structure


def _outside(channels: Channels, tensor: Any, reason: str) -> Ids:
    """New numbers for a tensor's channels that cannot be removed, with the reason."""
    ids = channels.new(tensor.shape[-1] or 1 if len(tensor.shape) > 1 else 1)
    channels.keep(ids, reason)
    return ids


def _walk(structure: DependencyGraph, graph: Any, streams: dict[int, ChannelStream], above: str) -> None:
    for node in nodes_of(graph):
        operation = node.operation
        path = f"{above}{operation.name}"
        inputs = [streams[id(tensor)] for tensor in node.input_tensors]
        inner = _inside(node)
        if inner is not None:
            outputs = _nested(structure, inner, inputs, path)
        else:
            call = Call(operation, path, tuple(node.input_tensors), tuple(node.outputs), node)
            outputs = [ChannelStream(ids) for ids in _called(structure, call, [stream.ids for stream in inputs])]
            structure.calls.append(call)
            structure.tensors.append((tuple(inputs), tuple(outputs)))
        streams.update((id(tensor), given) for tensor, given in zip(node.outputs, outputs, strict=True))


def _inside(node: Any) -> Any:
    """The graph of a nested model that a node runs on unchanged tensors; None for any other op or call."""
    graph = graph_of(node.operation)
    given = keras.tree.flatten(node.arguments.args)
    same = graph is not None and len(graph.inputs) == len(given) == len(node.input_tensors)
    if not same or any(a is not b for a, b in zip(given, node.input_tensors, strict=True)):
        return None
    pairs = zip(given, graph.inputs, strict=True)
    named = isinstance(graph.input, dict)
    return None if named or any(len(a.shape) != len(b.shape) for a, b in pairs) else graph


def _nested(structure: DependencyGraph, graph: Any, inputs: Sequence[ChannelStream], path: str) -> list[ChannelStream]:
    before = structure.borders.setdefault(id(graph), tuple(stream.ids for stream in inputs))
    for one, other in zip(before, inputs, strict=True):  # called again: all calls share its layers
        structure.channels.tie(one, other.ids)
    below = {id(tensor): stream for tensor, stream in zip(graph.inputs, inputs, strict=True)}
    _walk(structure, graph, below, f"{path}/")
    return [below[id(tensor)] for tensor in graph.outputs]


def _called(structure: DependencyGraph, call: Call, inputs: Sequence[Ids]) -> list[Ids]:
    channels, operation = structure.channels, call.operation
    flow = flow_of(call, inputs, channels)
    before = structure.flows.get(id(operation))
    if before is None and any(earlier.operation is operation for earlier in structure.calls):
        flow = "it cannot be cut where it is called before"
    if not isinstance(flow, str):
        if before is None:
            structure.flows[id(operation)] = flow
        else:  # a shared layer: a cut applies to all its calls
            for one, other in zip(before.axes, flow.axes, strict=True):
                channels.tie(one.ids, other.ids)
            for one_out, other_out in zip(before.outputs, flow.outputs, strict=True):
                channels.tie(one_out, other_out)
        return list(flow.outputs)
    structure.skipped.append((call.path, flow))
    for ids in (*inputs, *([] if before is None else [*before.outputs, *(axis.ids for axis in before.axes)])):
        channels.keep(ids, f"{call.path} takes them: {flow}")
    return [_outside(channels, tensor, f"{call.path} makes them: {flow}") for tensor in call.outputs]


def _families(structure: DependencyGraph) -> Iterator[CoupledGroups]:
    channels = structure.channels
    made: dict[int, dict[str, int]] = {}
    removable: dict[int, set[int]] = {}
    kept = set(channels.kept())
    for call, axis in structure.axes:
        if axis.role != "makes":
            continue
        roots = structure.roots[axis.ids]
        family = channels.family(int(axis.ids[0]))
        made.setdefault(family, {})[call.path] = len(np.unique(axis.ids))
        removable.setdefault(family, set()).update(set(roots.tolist()) - kept)
    for family, paths in made.items():
        if groups := removable[family]:
            yield CoupledGroups(tuple(paths), tuple(sorted(groups)), max(paths.values()), channels.single(family))

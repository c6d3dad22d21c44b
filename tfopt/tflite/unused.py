"""Leaving out what no op of a parsed `.tflite` reads or writes: tensors, and the buffers of constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def leave_out_unused(model: Any) -> None:
    """Takes tensors without an op and buffers without a tensor out of a parsed file, and numbers the rest anew.

    A runtime keeps a record of every tensor of a file, in TFLM a part of its arena.
    """
    for number, graph in enumerate(model.subgraphs):
        kept = sorted(set(_named(graph)))
        new = {-1: -1} | {old: place for place, old in enumerate(kept)}
        for holder, attribute in _lists(graph):
            setattr(holder, attribute, np.array([new[int(i)] for i in getattr(holder, attribute)], np.int32))
        graph.tensors = [graph.tensors[old] for old in kept]
        for signature in model.signatureDefs or []:
            if signature.subgraphIndex == number:
                for entry in (*(signature.inputs or []), *(signature.outputs or [])):
                    entry.tensorIndex = new[entry.tensorIndex]
    _leave_out_buffers(model)


def _named(graph: Any) -> Iterator[int]:
    """The numbers of the tensors that a graph, or one of its ops, names."""
    for holder, attribute in _lists(graph):
        yield from (int(i) for i in getattr(holder, attribute) if i >= 0)


def _lists(graph: Any) -> list[tuple[Any, str]]:
    """What names tensors of a graph: the object, and its attribute with their numbers."""
    ops = ((op, name) for op in graph.operators for name in ("inputs", "outputs", "intermediates"))
    named = [(graph, "inputs"), (graph, "outputs"), *ops]
    return [(holder, name) for holder, name in named if getattr(holder, name) is not None]


def _leave_out_buffers(model: Any) -> None:
    """The first buffer is empty by the format, and stays."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    entries = model.metadata or []
    kept = sorted({0, *(tensor.buffer for tensor in tensors), *(entry.buffer for entry in entries)})
    new: Mapping[int, int] = {old: place for place, old in enumerate(kept)}
    for holder in (*tensors, *entries):
        holder.buffer = new[holder.buffer]
    model.buffers = [model.buffers[old] for old in kept]

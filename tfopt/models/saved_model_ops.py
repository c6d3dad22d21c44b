"""What the graph of a SavedModel could do when it is loaded or called, read from it as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfopt.models.arithmetic_ops import ARITHMETIC_OPS

# What every SavedModel has to write and read its variables, in two functions that nothing but its saver calls.
_CHECKPOINT_OPS = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})
_ALLOWED = ARITHMETIC_OPS | _CHECKPOINT_OPS


def foreign_ops(saved: Any) -> tuple[str, ...]:
    """The ops of a SavedModel that are not known to be arithmetic alone, in any function or initializer of it.

    Ops that write and read checkpoints are in every SavedModel. Loading calls none of them, as long as only the saver
    of the graph leads to them; they count where a function or an object does.

    Args:
        saved: The SavedModel's protobuf message.

    Returns:
        Their names, each once, in order.

    Raises:
        ValueError: It has not one graph of objects, as Keras writes it.
    """
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def"):
        raise ValueError("it is of TensorFlow 1, or has several graphs")
    graph, objects = saved.meta_graphs[0].graph_def, saved.meta_graphs[0].object_graph_def
    found = {node.op for node in graph.node} - _ALLOWED
    called = set(_functions_of(objects))
    of_checkpoints = set()
    for function in graph.library.function:
        ops = {node.op for node in function.node_def}
        found |= ops - _ALLOWED
        called.update(name for node in function.node_def for name in _called_by(node))
        called.update(_names(function.attr))
        if ops & _CHECKPOINT_OPS:
            of_checkpoints.add(function.signature.name)
    called.update(gradient.gradient_func for gradient in graph.library.gradient)
    if of_checkpoints & called:
        found |= {op for one in graph.library.function if one.signature.name in called for op in _ops(one)}
    return tuple(sorted(op if op.isprintable() else repr(op) for op in found))


def _ops(function: Any) -> set[str]:
    return {node.op for node in function.node_def} & _CHECKPOINT_OPS


def _called_by(node: Any) -> Iterator[str]:
    """The functions that a node calls: by name as its op, or by an attribute."""
    yield node.op
    yield from _names(node.attr)


def _names(attributes: Any) -> Iterator[str]:
    for value in attributes.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _functions_of(objects: Any) -> Iterator[str]:
    """The functions that the objects of a SavedModel have."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name

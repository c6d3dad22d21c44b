"""Rewrites bounded reciprocal roots, which LiteRT gives as NaN where Keras gives the bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite.flatbuffer import add_activation, builtin_operator, limit, opcode_index

# The smallest float32 of full precision; below it XNNPACK may take a number for 0.
_TINY = float(np.finfo(np.float32).tiny)


def bound_roots(model: Any) -> None:
    """Turns `min(1 / sqrt(x), c)` into `1 / sqrt(max(x, c ** -2))` in a parsed file.

    Keras normalizes a row to unit length in the first form: 1 / sqrt(0) is infinite, and the bound makes a finite
    number of it, so that a row of zeros stays zeros. XNNPACK's RSQRT of 0 is NaN. In the second form no root is of 0.
    """
    for graph in model.subgraphs:
        _bound(model, graph)


def _bound(model: Any, graph: Any) -> None:
    roots = {int(op.outputs[0]): op for op in graph.operators if _kind(model, op) == schema.BuiltinOperator.RSQRT}
    operators = []
    for op in graph.operators:
        operators.append(op)
        if _kind(model, op) != schema.BuiltinOperator.MINIMUM:
            continue
        root = next((roots[int(i)] for i in op.inputs if int(i) in roots), None)
        bound = next((value for i in op.inputs if (value := _scalar(model, graph, int(i))) is not None), None)
        if root is None or bound is None or bound <= 0:
            continue
        least = np.float32(max(bound**-2, _TINY))
        floor = _floor(model, graph, root, least)
        operators[-1:] = [floor, _root(model, int(floor.outputs[0]), int(op.outputs[0]))]
    read = {int(i) for op in operators for i in op.inputs} | {int(i) for i in graph.outputs}
    graph.operators = [op for op in operators if int(op.outputs[0]) not in roots or int(op.outputs[0]) in read]


def bounds(model: Any) -> dict[int, float]:
    """The value that a reciprocal root has where its input is at its lower bound, by the number of its output tensor.

    Args:
        model: A parsed float file; of its own graph alone.
    """
    graph = model.subgraphs[0]
    floors = {int(op.outputs[0]): op for op in graph.operators if _kind(model, op) == schema.BuiltinOperator.MAXIMUM}
    found: dict[int, float] = {}
    for op in graph.operators:
        if _kind(model, op) == schema.BuiltinOperator.RSQRT and int(op.inputs[0]) in floors:
            values = [_scalar(model, graph, int(i)) for i in floors[int(op.inputs[0])].inputs]
            found |= {int(op.outputs[0]): value**-0.5 for value in values if value is not None and value > 0}
    return found


def _kind(model: Any, op: Any) -> int:
    return builtin_operator(model.operatorCodes[op.opcodeIndex])


def _scalar(model: Any, graph: Any, index: int) -> float | None:
    """The one number of a float constant; None for any other tensor."""
    tensor = graph.tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or tensor.type != schema.TensorType.FLOAT32 or len(data) != 4:
        return None
    return float(np.frombuffer(bytes(data), np.float32)[0])


def _floor(model: Any, graph: Any, root: Any, least: np.float32) -> Any:
    """The MAXIMUM of a root's input and a constant, and its output as a new tensor of the root's shape and name."""
    like = graph.tensors[int(root.outputs[0])]
    floor = add_activation(graph, f"{like.name.decode()}/bounded", like)
    return limit(model, graph, (int(root.inputs[0]), floor), schema.BuiltinOperator.MAXIMUM, float(least))


def _root(model: Any, source: int, output: int) -> Any:
    op = schema.OperatorT()
    op.opcodeIndex = opcode_index(model, schema.BuiltinOperator.RSQRT)
    op.inputs, op.outputs = np.array([source], np.int32), np.array([output], np.int32)
    return op

"""Rewrites bounded reciprocal roots, which LiteRT gives as NaN where Keras gives the bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite.flatbuffer import builtin_operator, opcode_index

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
        operators[-1:] = [floor, _op(model, schema.BuiltinOperator.RSQRT, floor.outputs, op.outputs)]
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
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(least.tobytes(), np.uint8)
    model.buffers.append(buffer)
    constant = _tensor(graph, like, b"/least", len(model.buffers) - 1, np.array([], np.int32))
    floor = _tensor(graph, like, b"/bounded", 0, like.shape)
    graph.tensors[floor].shapeSignature = like.shapeSignature
    op = _op(model, schema.BuiltinOperator.MAXIMUM, [root.inputs[0], constant], [floor])
    op.builtinOptionsType = schema.BuiltinOptions.MaximumMinimumOptions
    op.builtinOptions = schema.MaximumMinimumOptionsT()
    return op


def _op(model: Any, kind: int, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    op = schema.OperatorT()
    op.opcodeIndex = opcode_index(model, kind)
    op.inputs, op.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    return op


def _tensor(graph: Any, like: Any, end: bytes, buffer: int, shape: np.ndarray) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.buffer, tensor.type, tensor.shape = like.name + end, buffer, like.type, shape
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1

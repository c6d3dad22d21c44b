"""Rewrites SPLIT ops that LiteRT does not load once they are quantized."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite.flatbuffer import add_constant, builtin_operator, opcode_index


def cut_splits(model: Any) -> None:
    """Turns every SPLIT of which some piece is never read into a slice for each piece that is.

    The first step of an unrolled LSTM or GRU has such a SPLIT, as there is no state yet to forget; XNNPACK does not
    load it in integers.
    """
    graph = model.subgraphs[0]
    read = {int(i) for op in graph.operators for i in op.inputs} | {int(i) for i in graph.outputs}
    operators = []
    for op in graph.operators:
        code = builtin_operator(model.operatorCodes[op.opcodeIndex])
        if code != schema.BuiltinOperator.SPLIT or all(int(i) in read for i in op.outputs):
            operators.append(op)
            continue
        axis_tensor, source = (int(i) for i in op.inputs)
        shape = [int(n) for n in graph.tensors[source].shape]
        axis = int(np.frombuffer(bytes(model.buffers[graph.tensors[axis_tensor].buffer].data), np.int32)[0])
        axis %= len(shape)  # it may count from the end
        width = shape[axis] // len(op.outputs)
        for piece, output in enumerate(op.outputs):
            if int(output) in read:
                bounds = axis, piece * width, (piece + 1) * width
                operators.append(_slice(model, graph, source, int(output), bounds))
    graph.operators = operators


def _slice(model: Any, graph: Any, source: int, output: int, bounds: tuple[int, int, int]) -> Any:
    """A STRIDED_SLICE op from one tensor of a graph to another; bounds are the axis, its begin and its end."""
    name, rank = graph.tensors[output].name.decode(), len(graph.tensors[source].shape)
    axis, begin, end = bounds
    inputs = [
        add_constant(
            model, graph, f"{name}/{part}", np.array([value if i == axis else other for i in range(rank)], np.int32)
        )
        for part, value, other in (("begin", begin, 0), ("end", end, 0), ("strides", 1, 1))
    ]
    op = schema.OperatorT()
    op.opcodeIndex = opcode_index(model, schema.BuiltinOperator.STRIDED_SLICE)
    op.inputs, op.outputs = np.array([source, *inputs], np.int32), np.array([output], np.int32)
    op.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions
    op.builtinOptions = schema.StridedSliceOptionsT()
    op.builtinOptions.beginMask = op.builtinOptions.endMask = (2**rank - 1) & ~(2**axis)  # the other axes whole
    return op

"""Rewrites dense layers that read a sum, which TensorFlow 2.20 multiplies out."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite.flatbuffer import add_activation, builtin_operator, opcode_index


def factor_out_kernels(model: Any) -> None:
    """Turns `W x + (W y + b)`, the inner sum being the bias of the outer product, into `W (x + y) + b`.

    The converter of TensorFlow 2.20 does the opposite for a constant `y`, and by mistake for any `y` of one row: twice
    the products, and a bias that the quantizer has no grid for.

    Args:
        model: A parsed float file.
    """
    for graph in model.subgraphs:
        products = {int(op.outputs[0]): op for op in graph.operators if _is_dense(model, op)}
        operators, factored = [], set()
        for op in graph.operators:
            inner = products.get(int(op.inputs[2])) if _is_dense(model, op) and len(op.inputs) > 2 else None
            if inner is not None and _are_parts_of_one(graph, op, inner):
                factored.add(int(inner.outputs[0]))
                operators.append(_sum_before(model, graph, op, inner))
            operators.append(op)
        unread = factored - {int(i) for op in operators for i in op.inputs} - {int(i) for i in graph.outputs}
        graph.operators = [op for op in operators if int(op.outputs[0]) not in unread]


def _is_dense(model: Any, op: Any) -> bool:
    return builtin_operator(model.operatorCodes[op.opcodeIndex]) == schema.BuiltinOperator.FULLY_CONNECTED


def _are_parts_of_one(graph: Any, outer: Any, inner: Any) -> bool:
    """Whether two products have one kernel, nothing between them, and one row as inner input, added to each of x."""
    x, y = (list(graph.tensors[int(op.inputs[0])].shape) for op in (outer, inner))
    of_one_row = len(y) <= len(x) and x[-1:] == y[-1:] and all(size == 1 for size in y[:-1])
    plain = inner.builtinOptions.fusedActivationFunction == schema.ActivationFunctionType.NONE
    return int(inner.inputs[1]) == int(outer.inputs[1]) and plain and of_one_row


def _sum_before(model: Any, graph: Any, outer: Any, inner: Any) -> Any:
    """The sum of what both products read; the outer one is left with it, and with the bias of the inner one."""
    x, y = int(outer.inputs[0]), int(inner.inputs[0])
    name = graph.tensors[int(outer.outputs[0])].name.decode()
    total = add_activation(graph, f"{name}/sum", graph.tensors[x])
    outer.inputs = np.array([total, *inner.inputs[1:]], np.int32)
    op = schema.OperatorT()
    op.opcodeIndex = opcode_index(model, schema.BuiltinOperator.ADD)
    op.inputs, op.outputs = np.array([x, y], np.int32), np.array([total], np.int32)
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return op

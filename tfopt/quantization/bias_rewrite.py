"""Rewrites dense layers that read a sum, which TensorFlow 2.20 multiplies out."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite.flatbuffer import add_activation, builtin_operator, opcode_index


def factor_out_kernels(model: Any) -> None:
    """Turns `W x + (W y + b)`, the inner sum being the bias of the outer product, into `W (x + y) + b`.

    The converter of TensorFlow 2.20 does the opposite for a constant `y`, and for a `y` of one dimension by mistake:
    twice the products, and a bias that the quantizer has no grid for.

    Args:
        model: A parsed float file.
    """
    for graph in model.subgraphs:
        products = {int(op.outputs[0]): op for op in graph.operators if _is_product(model, op)}
        operators = []
        for op in graph.operators:
            inner = products.get(int(op.inputs[2])) if _is_product(model, op) and len(op.inputs) > 2 else None
            if inner is not None and int(inner.inputs[1]) == int(op.inputs[1]) and not _activation(inner):
                operators.append(_sum_before(model, graph, op, inner))
            operators.append(op)
        read = {int(i) for op in operators for i in op.inputs} | {int(i) for i in graph.outputs}
        unread = [id(op) for end, op in products.items() if end not in read]
        graph.operators = [op for op in operators if id(op) not in unread]


def _is_product(model: Any, op: Any) -> bool:
    return builtin_operator(model.operatorCodes[op.opcodeIndex]) == schema.BuiltinOperator.FULLY_CONNECTED


def _activation(op: Any) -> bool:
    return op.builtinOptions.fusedActivationFunction != schema.ActivationFunctionType.NONE


def _sum_before(model: Any, graph: Any, outer: Any, inner: Any) -> Any:
    """The sum of what both products read; the outer one is left with it, and with the bias of the inner one."""
    x, y = int(outer.inputs[0]), int(inner.inputs[0])
    name = graph.tensors[int(outer.outputs[0])].name.decode()
    wide = max((x, y), key=lambda number: len(graph.tensors[number].shape))
    total = add_activation(graph, f"{name}/sum", graph.tensors[wide])
    outer.inputs = np.array([total, *inner.inputs[1:]], np.int32)
    op = schema.OperatorT()
    op.opcodeIndex = opcode_index(model, schema.BuiltinOperator.ADD)
    op.inputs, op.outputs = np.array([x, y], np.int32), np.array([total], np.int32)
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return op

"""Rewrites ops that take what another op computes as their bias, for which the quantizer has no grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite.flatbuffer import add_activation, builtin_operator, opcode_index

_KINDS = (
    schema.BuiltinOperator.FULLY_CONNECTED,
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
)
_NONE = schema.ActivationFunctionType.NONE


def add_computed_biases(model: Any) -> None:
    """Turns every bias that is not a constant into a sum after the op, in a parsed file.

    The converter of TensorFlow 2.20 multiplies the sum before a dense layer out, `W (x + y) + b = W x + (W y + b)`, and
    makes a bias of the second part.
    """
    for graph in model.subgraphs:
        computed = {int(i) for op in graph.operators for i in op.outputs} | {int(i) for i in graph.inputs}
        operators = []
        for op in graph.operators:
            operators.append(op)
            kind = builtin_operator(model.operatorCodes[op.opcodeIndex])
            if kind in _KINDS and len(op.inputs) > 2 and int(op.inputs[2]) in computed:
                operators.append(_sum_after(model, graph, op))
        graph.operators = operators


def _sum_after(model: Any, graph: Any, op: Any) -> Any:
    """The sum of an op's product and its bias, with its activation; the op is left with the product alone."""
    result, bias = int(op.outputs[0]), int(op.inputs[2])
    like = graph.tensors[result]
    product = add_activation(graph, f"{like.name.decode()}/product", like)
    total = schema.OperatorT()
    total.opcodeIndex = opcode_index(model, schema.BuiltinOperator.ADD)
    total.inputs, total.outputs = np.array([product, bias], np.int32), np.array([result], np.int32)
    total.builtinOptionsType = schema.BuiltinOptions.AddOptions
    total.builtinOptions = schema.AddOptionsT()
    total.builtinOptions.fusedActivationFunction = op.builtinOptions.fusedActivationFunction
    op.builtinOptions.fusedActivationFunction = _NONE
    op.inputs, op.outputs = np.array([op.inputs[0], op.inputs[1], -1], np.int32), np.array([product], np.int32)
    return total

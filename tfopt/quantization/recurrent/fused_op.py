"""TFLite's op of a whole LSTM in a parsed float file: made of the op that stood for it while the model was traced.

The op runs over the steps of a sequence by itself. Its inputs are the kernels and biases of each gate, in the order in
which Keras has them in one kernel, and two variables, in which the state is kept from run to run.

References:
    The schema, tensorflow/compiler/mlir/lite/schema/schema.fbs in github.com/tensorflow/tensorflow; for the inputs
    tensorflow/lite/kernels/unidirectional_sequence_lstm.cc there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.quantization.recurrent.fused_call import BIAS, DATA, KERNEL, RECURRENT_KERNEL, SEQUENCE, STAND_IN
from tfopt.tflite import flatbuffer
from tfopt.tflite.ops import LSTM_INPUTS
from tfopt.tflite.unused import leave_out_unused

# The gates in the order of Keras and of the op, and the states, as parts of names.
GATES = ("input_gate", "forget_gate", "cell_gate", "output_gate")
STATES = ("hidden_state", "cell_state")


def fuse(model: Any) -> None:
    """Makes TFLite's op of every stand-in in the first graph of a parsed file."""
    graph = model.subgraphs[0]
    found = [op for op in graph.operators if _custom(model, op) == STAND_IN]
    parts: dict[int, list[int]] = {}  # layers that are called twice have their weights once
    for op in found:
        _fuse(model, graph, op, parts)
    if found:
        _leave_out_codes(model)
        leave_out_unused(model)


def unknown_ops(model: Any) -> list[str]:
    """The custom ops of a parsed file that are no stand-ins, or stand-ins in the inside of a loop or a branch.

    The converter hands on every op that it does not know where it is told to hand on one.
    """
    outer, *inner = model.subgraphs
    names = [name for op in outer.operators if (name := _custom(model, op)) and name != STAND_IN]
    return names + [name for graph in inner for op in graph.operators if (name := _custom(model, op))]


def _custom(model: Any, op: Any) -> str:
    code = model.operatorCodes[op.opcodeIndex].customCode
    return code.decode() if code else ""


def _fuse(model: Any, graph: Any, op: Any, parts: dict[int, list[int]]) -> None:
    data, sequence = int(op.inputs[DATA]), int(op.outputs[SEQUENCE])
    kernel, recurrent_kernel, bias = (int(op.inputs[number]) for number in (KERNEL, RECURRENT_KERNEL, BIAS))
    units = int(graph.tensors[recurrent_kernel].shape[0])
    shape = (int(graph.tensors[data].shape[0]), units)
    inputs = np.full(LSTM_INPUTS.count, -1, np.int32)
    inputs[0] = data
    for number, places in (
        (kernel, LSTM_INPUTS.kernels),
        (recurrent_kernel, LSTM_INPUTS.recurrent_kernels),
        (bias, LSTM_INPUTS.biases),
    ):
        if number not in parts:
            parts[number] = _parts(model, graph, number)
        inputs[list(places)] = parts[number]
    name = graph.tensors[sequence].name.decode()
    inputs[list(LSTM_INPUTS.states)] = [_state(graph, f"{name}/{state}", shape) for state in STATES]
    op.inputs, op.outputs = inputs, np.array([sequence], np.int32)
    op.opcodeIndex = flatbuffer.opcode_index(model, schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM)
    op.customOptions = None
    op.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    op.builtinOptions = schema.UnidirectionalSequenceLSTMOptionsT()
    op.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH  # cellClip 0: none, as in Keras


def _parts(model: Any, graph: Any, number: int) -> list[int]:
    """The weights of each gate as constants of their own: those of Keras lie side by side in one."""
    tensor = graph.tensors[number]
    data = bytes(bytearray(model.buffers[tensor.buffer].data))
    weights = np.frombuffer(data, np.float32).reshape([int(size) for size in tensor.shape])
    name = tensor.name.decode()
    return [
        flatbuffer.add_constant(model, graph, f"{name}/{gate}", part.T)
        for gate, part in zip(GATES, np.split(weights, len(GATES), axis=-1), strict=True)
    ]


def _state(graph: Any, name: str, shape: Sequence[int]) -> int:
    """Adds a variable to a graph; returns its number."""
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.buffer = name.encode(), schema.TensorType.FLOAT32, 0
    tensor.shape, tensor.isVariable = np.array(shape, np.int32), True
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _leave_out_codes(model: Any) -> None:
    """Takes the codes of ops that are gone out of a parsed file."""
    ops = [op for graph in model.subgraphs for op in graph.operators]
    kept = sorted({op.opcodeIndex for op in ops})
    for op in ops:
        op.opcodeIndex = kept.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[old] for old in kept]

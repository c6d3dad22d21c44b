"""Opens the batch dimension of a `.tflite` of batch size 1, as far as its constants hold it closed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite import flatbuffer
from tfopt.tflite.file import tensor_details


def with_open_batch(model: Any, time_major: bool = False, width: int = 1) -> bytes:
    """The file with an open batch dimension: its reshapes of one sample become those of any number.

    The converter writes reshapes by what they do to one sample, where those of several are something else: a 1 that
    moves is the batch (as before and after a recurrent layer), and a shape without it has lost it. Whether the outputs
    are still those of the file has to be looked at.

    Args:
        model: The parsed file, which is changed.
        time_major: Whether a 1 that is put in front stands for time, as in the loop of a recurrent layer.
        width: How many samples a variable has a state for, which no input resizes.
    """
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.isVariable and len(tensor.shape) > 1 and tensor.shape[0] == 1:
                tensor.shape = np.array([width, *tensor.shape[1:]], np.int32)
        for op in graph.operators:
            code = model.operatorCodes[op.opcodeIndex]
            if flatbuffer.builtin_operator(code) == schema.BuiltinOperator.RESHAPE and len(op.inputs) > 1:
                _open(model, graph, op, time_major)
    return flatbuffer.pack(model)


def _open(model: Any, graph: Any, op: Any, time_major: bool) -> None:
    """Opens one reshape."""
    data, shape = model.buffers[graph.tensors[op.inputs[1]].buffer].data, graph.tensors[op.inputs[0]].shape
    if data is None or shape is None or graph.tensors[op.outputs[0]].shape is None or not len(shape):
        return
    before = [int(size) for size in shape]
    after = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.int32).tolist()
    if -1 in after:
        return
    if before[0] != 1:
        if after[:1] == [1] and (place := _moved(after, before)):
            _transpose(model, graph, op, [place, *range(place), *range(place + 1, len(before))])
    elif time_major and after == [1, *before]:
        _reshape(model, graph, op, [1, -1, *before[1:]])
    elif after[:1] == [1]:
        _reshape(model, graph, op, [-1, *after[1:]])
    elif place := _moved(before, after):
        _transpose(model, graph, op, [*range(1, place + 1), 0, *range(place + 1, len(after))])
    elif after == before[1:]:
        _reshape(model, graph, op, [-1, *after])


def _moved(first: list[int], there: list[int]) -> int:
    """The place that the leading 1 of a shape has moved to in another of the same numbers; 0 where it has not."""
    places = [k for k, size in enumerate(there) if k and size == 1 and [*there[:k], *there[k + 1 :]] == first[1:]]
    return places[0] if places else 0


def _transpose(model: Any, graph: Any, op: Any, order: list[int]) -> None:
    """Makes a transposition of a reshape."""
    permutation = flatbuffer.add_constant(model, graph, "open_batch/order", np.array(order, np.int32))
    op.opcodeIndex = flatbuffer.opcode_index(model, schema.BuiltinOperator.TRANSPOSE)
    op.inputs = np.array([op.inputs[0], permutation], np.int32)
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.TransposeOptions, schema.TransposeOptionsT()


def _reshape(model: Any, graph: Any, op: Any, shape: list[int]) -> None:
    """Gives a reshape a shape of its own, as others may share the constant that it has."""
    constant = flatbuffer.add_constant(model, graph, "open_batch/shape", np.array(shape, np.int32))
    op.inputs = np.array([op.inputs[0], constant], np.int32)
    if op.builtinOptions is not None:
        op.builtinOptions.newShape = np.array(shape, np.int32)


def largest_activation(model: Any) -> int:
    """The bytes of the largest tensor that a parsed file computes for one sample."""
    sizes = [
        math.prod(abs(int(size)) for size in tensor.shape) * np.dtype(tensor_details(tensor)["dtype"] or "u1").itemsize
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.shape is not None and model.buffers[tensor.buffer].data is None
    ]
    return max(sizes, default=1)

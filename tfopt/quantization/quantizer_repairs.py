"""Repairs of what the quantizer leaves wrong where a tensor is read both as integers and in floating point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite import flatbuffer


def settled(content: bytes, floats: bool, float_inputs: Iterable[str] | None = None) -> bytes:
    """A quantized file whose outputs are one tensor each, and whose inputs are integers but for those that are named.

    An output that an op in float reads too is handed out by the quantizer as the integers in the signature and as
    their dequantized copy in the graph, and LiteRT reads neither. An op in integers that reads an output in float gets
    the dequantized copy, and takes its bits for integers.

    Args:
        content: Bytes of the quantized file.
        floats: Whether outputs are in floating point where there is the choice.
        float_inputs: Names of the inputs that stay in float, where the quantizer left all of them there; the others
            become integers. None: inputs stay as they are.
    """
    seen = flatbuffer.view(content)
    settled_already = _misplaced_outputs(seen, floats) is None and not _misread(seen, _dequantized(seen))
    if settled_already and float_inputs is None:
        return content
    model = flatbuffer.parse(content)
    changed = _settle_outputs(model, floats)
    changed = _reconnect(model) or changed
    if float_inputs is not None:
        changed = _quantize_inputs(model, set(float_inputs)) or changed
    return flatbuffer.pack(model) if changed else content


def _misplaced_outputs(model: Any, floats: bool) -> list[int] | None:
    """The tensors that the graph and the signature have to give; None where both give these already."""
    graph, entries = model.subgraphs[0], model.signatureDefs[0].outputs
    places = [int(index) for index in graph.outputs]
    chosen = []
    for entry, index in zip(entries, places, strict=True):
        named = graph.tensors[entry.tensorIndex].type == schema.TensorType.FLOAT32
        chosen.append(entry.tensorIndex if named == floats else index)
    return None if chosen == places == [entry.tensorIndex for entry in entries] else chosen


def _settle_outputs(model: Any, floats: bool) -> bool:
    """Makes the graph's outputs and those of the signature the same tensors; returns whether they were not."""
    chosen = _misplaced_outputs(model, floats)
    if chosen is None:
        return False
    model.subgraphs[0].outputs = np.array(chosen, np.int32)
    for entry, index in zip(model.signatureDefs[0].outputs, chosen, strict=True):
        entry.tensorIndex = index
    return True


def _dequantized(model: Any) -> dict[int, int]:
    """The integers that each dequantized copy is of, by the number of the copy."""
    graph = model.subgraphs[0]
    return {
        int(op.outputs[0]): int(op.inputs[0])
        for op in graph.operators
        if _code(model, op) == schema.BuiltinOperator.DEQUANTIZE and _on_grid(graph.tensors[int(op.inputs[0])])
    }


def _misread(model: Any, dequantized: Mapping[int, int]) -> list[Any]:
    """The ops in integers that read a dequantized copy."""
    graph = model.subgraphs[0]
    return [
        op
        for op in graph.operators
        if any(int(i) in dequantized for i in op.inputs)
        and _code(model, op) != schema.BuiltinOperator.QUANTIZE
        and any(_on_grid(graph.tensors[int(i)]) for i in op.outputs)
    ]


def _reconnect(model: Any) -> bool:
    """Gives ops in integers the integers themselves where they read a dequantized copy; returns whether any did."""
    graph, dequantized = model.subgraphs[0], _dequantized(model)
    misread = _misread(model, dequantized)
    for op in misread:
        op.inputs = np.array([dequantized.get(int(i), int(i)) for i in op.inputs], np.int32)
    if misread:
        read = {int(i) for op in graph.operators for i in op.inputs} | {int(i) for i in graph.outputs}
        graph.operators = [
            op for op in graph.operators if int(op.outputs[0]) in read or int(op.outputs[0]) not in dequantized
        ]
    return bool(misread)


def _on_grid(tensor: Any) -> bool:
    """Whether a tensor holds quantized integers."""
    scaled = tensor.quantization is not None and tensor.quantization.scale is not None
    return scaled and tensor.type in (schema.TensorType.INT8, schema.TensorType.INT16)


def _code(model: Any, op: Any) -> int:
    return flatbuffer.builtin_operator(model.operatorCodes[op.opcodeIndex])


def _quantize_inputs(model: Any, float_inputs: set[str]) -> bool:
    """Lets the file take the integers that a QUANTIZE op makes of an input; what reads it in float is handed a copy."""
    graph = model.subgraphs[0]
    changed = False
    for entry in model.signatureDefs[0].inputs:
        index = entry.tensorIndex
        readers = [op for op in graph.operators if index in (int(i) for i in op.inputs)]
        made = [op for op in readers if _code(model, op) == schema.BuiltinOperator.QUANTIZE]
        if entry.name.decode() in float_inputs or not made:
            continue
        integers = int(made[0].outputs[0])
        own, quantized = graph.tensors[index], graph.tensors[integers]
        own.name, quantized.name = quantized.name, own.name
        if len(readers) > 1 or index in (int(i) for i in graph.outputs):
            made[0].opcodeIndex = flatbuffer.opcode_index(model, schema.BuiltinOperator.DEQUANTIZE)
            made[0].inputs, made[0].outputs = np.array([integers], np.int32), np.array([index], np.int32)
            made[0].builtinOptionsType, made[0].builtinOptions = schema.BuiltinOptions.NONE, None
            graph.operators.remove(made[0])
            graph.operators.insert(0, made[0])
        else:
            graph.operators.remove(made[0])
        graph.inputs = np.array([integers if int(i) == index else int(i) for i in graph.inputs], np.int32)
        entry.tensorIndex = integers
        changed = True
    return changed

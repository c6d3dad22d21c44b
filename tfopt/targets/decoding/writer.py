"""Writes kernels of a `.tflite` in their codings, with ops `TFLM_DECODE` that make them again.

What is decoded lives in the arena until the next op has run. So every op with such kernels has an op of its own before
it, which decodes all of them; the encoded constants are shared.

References:
    `tensorflow/lite/micro/compression/decode_insert.py` of tflite-micro.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.targets.decoding.kernel import Encoded
from tfopt.targets.decoding.stored_kernels import StoredKernel
from tfopt.tflite import flatbuffer
from tfopt.tflite.ops import DECODE


def write(content: bytes, chosen: Mapping[StoredKernel, Encoded]) -> bytes:
    """The bytes of a file with the chosen kernels encoded; all else stays as it is.

    The encoded constants lie at multiples of 16 bytes, as decoders read words of several bytes: the file itself has to
    lie at one in flash.

    Args:
        content: Bytes of a file without `TFLM_DECODE`.
        chosen: The coding for each kernel that `stored_kernels.find` found in it.
    """
    model = flatbuffer.parse(content)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = DECODE.encode(), 1
    model.operatorCodes.append(code)
    writer = _Writer(model, {encoded.data: kernel.buffer for kernel, encoded in chosen.items()})
    for number, graph in enumerate(model.subgraphs):
        places: dict[int, list[tuple[int, Encoded]]] = {}
        for kernel, encoded in chosen.items():
            for use in kernel.uses:
                if use.graph == number:
                    places.setdefault(use.op, []).append((use.tensor, encoded))
        writer.insert(graph, places)
    for kernel in chosen:
        if kernel.buffer not in writer.buffers.values():  # another kernel of the same bytes has them
            model.buffers[kernel.buffer].data = None
    return flatbuffer.pack(model, aligned=writer.buffers.values())


class _Writer:
    """Adds encoded constants and the ops that decode them to a parsed file.

    Args:
        model: The parsed file.
        places: Buffers that are free for constants, those of the kernels themselves.
    """

    def __init__(self, model: Any, places: Mapping[bytes, int]):
        self.model, self.places = model, places
        self.buffers: dict[bytes, int] = {}

    def insert(self, graph: Any, places: Mapping[int, list[tuple[int, Encoded]]]) -> None:
        """Puts an op before each of the ops whose numbers are given, for the tensors of its kernels."""
        constants: dict[bytes, int] = {}
        decoded: set[int] = set()
        operators = []
        for number, op in enumerate(graph.operators or ()):
            if own := places.get(number):
                inputs, outputs = [], []
                for tensor, encoded in dict(own).items():
                    inputs += [self._constant(graph, data, constants) for data in (encoded.data, encoded.tables)]
                    outputs.append(self._output(graph, tensor, decoded))
                now = dict(zip(dict(own), outputs, strict=True))
                op.inputs = np.array([now.get(int(index), int(index)) for index in op.inputs], np.int32)
                operators.append(self._op(inputs, outputs))
            operators.append(op)
        graph.operators = operators

    def _constant(self, graph: Any, data: bytes, constants: dict[bytes, int]) -> int:
        if data not in self.buffers:
            if data not in self.places:
                self.model.buffers.append(schema.BufferT())
            self.buffers[data] = self.places.get(data, len(self.model.buffers) - 1)
            self.model.buffers[self.buffers[data]].data = np.frombuffer(data, np.uint8)
        if data not in constants:
            tensor = schema.TensorT()
            tensor.type, tensor.buffer = schema.TensorType.UINT8, self.buffers[data]
            tensor.shape = np.array([len(data)], np.int32)
            graph.tensors.append(tensor)
            constants[data] = len(graph.tensors) - 1
        return constants[data]

    def _output(self, graph: Any, tensor: int, decoded: set[int]) -> int:
        """The number of the decoded tensor: the kernel's own for the first op that reads it, a copy for any other."""
        if tensor not in decoded:
            decoded.add(tensor)
            own = graph.tensors[tensor]
            own.buffer, own.quantization = 0, _of_first_axis(own.quantization)
            return tensor
        graph.tensors.append(copy.copy(graph.tensors[tensor]))
        return len(graph.tensors) - 1

    def _op(self, inputs: list[int], outputs: list[int]) -> Any:
        op = schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        return op


def _of_first_axis(quantization: Any) -> Any:
    """The quantization of a tensor, a single scale on axis 0: it means the same, and older decoders take no other."""
    if quantization is None or quantization.scale is None or len(quantization.scale) > 1:
        return quantization
    changed = copy.copy(quantization)
    changed.quantizedDimension = 0
    return changed

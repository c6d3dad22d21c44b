"""Tensors in int8 around an op that a quantizer has left in float, between a DEQUANTIZE and a QUANTIZE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import qtyping
from litert_quantizer.algorithms.uniform_quantize.uniform_quantize_tensor import tensor_zp_scale_from_min_max

from tfopt.tflite import flatbuffer

# An output takes the grid that its reader wants where its steps are at most so many of its own.
_ALIKE = 1.05


@dataclass(frozen=True)
class Grid:
    """The numbers that a quantized tensor can hold: `scale * (q - zero_point)`."""

    scale: float
    zero_point: int = 0

    def parameters(self) -> Any:
        """The grid in the schema's words."""
        found = schema.QuantizationParametersT()
        found.scale, found.zeroPoint = np.array([self.scale], np.float32), np.array([self.zero_point], np.int64)
        return found


def grid_of(ends: Mapping[str, Any]) -> Grid:
    """The int8 grid that the quantizer makes of a range, `min` and `max`."""
    point, scale = tensor_zp_scale_from_min_max(
        np.asarray(ends["min"]),
        np.asarray(ends["max"]),
        8,
        symmetric=False,
        granularity=qtyping.QuantGranularity.TENSORWISE,
    )
    return Grid(float(np.float32(scale.item())), int(point.item()))


class Wiring:
    """The first graph of a parsed file, in which ops are put in integers one by one, in their order."""

    def __init__(self, model: Any):
        self.model, self.graph = model, model.subgraphs[0]
        self._written: dict[Any, int] = {}
        self._unpacked: dict[int, int] = {}

    def grid(self, number: int) -> Grid:
        """The grid of a quantized tensor."""
        found = self.graph.tensors[number].quantization
        return Grid(float(found.scale[0]), int(found.zeroPoint[0]))

    def name(self, number: int) -> str:
        """The name of a tensor."""
        return self.graph.tensors[number].name.decode()

    def constant(self, number: int) -> np.ndarray:
        """The values of a constant in float32."""
        tensor = self.graph.tensors[number]
        data = bytes(bytearray(self.model.buffers[tensor.buffer].data))
        return np.frombuffer(data, np.float32).reshape([int(size) for size in tensor.shape])

    def put_constant(self, number: int, values: np.ndarray, scale: float | None = None) -> int:
        """A constant of a smaller type beside one in float32, of its name; one that ops share is written once."""
        key = number, values.dtype.name, scale
        if key not in self._written:
            self._written[key] = flatbuffer.add_constant(self.model, self.graph, self.name(number), values)
            if scale is not None:
                self.graph.tensors[self._written[key]].quantization = Grid(scale).parameters()
        return self._written[key]

    def dequantized(self, number: int, op: Any) -> int:
        """A constant in float32, made of a stored one before the op that reads it."""
        if number not in self._unpacked:
            like = self.graph.tensors[number]
            new = flatbuffer.add_activation(self.graph, f"{self.name(number)}/float", like)
            self.graph.tensors[new].type = schema.TensorType.FLOAT32
            self._insert(self._border(schema.BuiltinOperator.DEQUANTIZE, number, new), op, 0)
            self._unpacked[number] = new
        return self._unpacked[number]

    def integers(self, op: Any) -> int | None:
        """The first input of an op in int8, where it has that form already: it was dequantized, or is quantized too."""
        number, tensors = int(op.inputs[0]), self.graph.tensors
        for one in self.graph.operators[: self._place(op)]:
            source, output = int(one.inputs[0]), int(one.outputs[0])
            kind = self.kind(one)
            if kind == schema.BuiltinOperator.DEQUANTIZE and output == number:
                return source if tensors[source].type == schema.TensorType.INT8 else None
            if kind == schema.BuiltinOperator.QUANTIZE and source == number and self._makes_int8(one):
                return output
        return None

    def quantize(self, op: Any, grid: Grid) -> int:
        """Quantizes the first input of an op, which is in float."""
        number = int(op.inputs[0])
        new = self._integers_like(number, grid, f"{self.name(number)}/int8")
        self._insert(self._border(schema.BuiltinOperator.QUANTIZE, number, new), op, 0)
        return new

    def hand_out(self, op: Any, grid: Grid, exact: bool = False) -> int:
        """The output of an op in int8, for those that read it in int8 and for those that read it in float.

        Args:
            op: The op, whose output is in float.
            grid: Its own grid.
            exact: Whether it has to be that; else a reader's that is hardly wider may take its place.
        """
        number = int(op.outputs[0])
        readers = [one for one in self.graph.operators if number in (int(i) for i in one.inputs)]
        into = [one for one in readers if self._makes_int8(one)]
        like = next((one for one in into if self._fits(int(one.outputs[0]), grid, exact)), None)
        new = self._integers_like(number, grid, "") if like is None else int(like.outputs[0])
        if like is not None:
            del self.graph.operators[self._place(like)]
        for one in into:
            one.inputs = np.array([new], np.int32)
        old, there = self.graph.tensors[number], self.graph.tensors[new]
        there.name, old.name = old.name, old.name + b"/float"
        if len(readers) > len(into) or number in (int(i) for i in self.graph.outputs):
            self._insert(self._border(schema.BuiltinOperator.DEQUANTIZE, new, number), op, 1)
        op.outputs = np.array([new], np.int32)
        return new

    def leave_out_copies(self) -> None:
        """Takes out what is dequantized for nobody."""
        read = {int(i) for op in self.graph.operators for i in op.inputs} | {int(i) for i in self.graph.outputs}
        self.graph.operators = [
            op
            for op in self.graph.operators
            if self.kind(op) != schema.BuiltinOperator.DEQUANTIZE or int(op.outputs[0]) in read
        ]

    def _fits(self, number: int, grid: Grid, exact: bool) -> bool:
        """Whether a tensor has a grid that can stand for another."""
        other = self.grid(number)
        return other == grid if exact else grid.scale <= other.scale <= _ALIKE * grid.scale

    def kind(self, op: Any) -> int:
        """The `BuiltinOperator` of an op."""
        return flatbuffer.builtin_operator(self.model.operatorCodes[op.opcodeIndex])

    def _makes_int8(self, op: Any) -> bool:
        quantizes = self.kind(op) == schema.BuiltinOperator.QUANTIZE
        return quantizes and self.graph.tensors[int(op.outputs[0])].type == schema.TensorType.INT8

    def _integers_like(self, number: int, grid: Grid, name: str) -> int:
        new = flatbuffer.add_activation(self.graph, name, self.graph.tensors[number])
        tensor = self.graph.tensors[new]
        tensor.type, tensor.quantization = schema.TensorType.INT8, grid.parameters()
        return new

    def _border(self, kind: int, source: int, output: int) -> Any:
        op = schema.OperatorT()
        op.opcodeIndex = flatbuffer.opcode_index(self.model, kind)
        op.inputs, op.outputs = np.array([source], np.int32), np.array([output], np.int32)
        return op

    def _insert(self, new: Any, beside: Any, offset: int) -> None:
        self.graph.operators.insert(self._place(beside) + offset, new)

    def _place(self, wanted: Any) -> int:
        return next(i for i, op in enumerate(self.graph.operators) if op is wanted)

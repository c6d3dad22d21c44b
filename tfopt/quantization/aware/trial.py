"""A file quantized with a range of its own for every tensor, which shows the tensors that share one."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from tfopt.quantization import quantizer
from tfopt.quantization.aware.grids import Grid
from tfopt.quantization.calibration import as_range
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.tflite import flatbuffer

# Ranges of the trial: the first, wider than any that an op fixes, and how much wider each is than the one before.
_LEAST, _STEP = 2.0, 1e-2
_BITS = {schema.TensorType.INT8: 8, schema.TensorType.INT16: 16}
_KERNEL_BITS = {schema.TensorType.INT4: 4, schema.TensorType.INT8: 8}


class Trial:
    """A file quantized with a distinct range for every tensor, from which grids are read.

    Args:
        prepared: The model, converted to float32.
        names: The tensors of its float file that are computed.

    Raises:
        ConversionError: The quantizer refuses the model.
    """

    def __init__(self, prepared: PreparedModel, names: list[str]):
        source, export = prepared.source, prepared.export
        reach = {name: _LEAST + _STEP * number for number, name in enumerate(names)}
        ranges = {name: as_range(-r, r) for name, r in reach.items()}
        given = prepared.assigned.precisions
        content = quantizer.quantize(source, export.mode, ranges, given, export.io, scales=prepared.scales)
        self._names = names
        parsed = flatbuffer.view(content)
        graph = parsed.subgraphs[0]
        self._tensors = {tensor.name.decode(): tensor for tensor in reversed(graph.tensors)}
        self._borders: dict[str, Any] = {}
        borders = (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE)
        for op in graph.operators:
            code = parsed.operatorCodes[op.opcodeIndex]
            if flatbuffer.builtin_operator(code) in borders:
                ends = [graph.tensors[int(i)] for i in (op.inputs[0], op.outputs[0])]
                for one, other in (ends, ends[::-1]):
                    if one.type == schema.TensorType.FLOAT32 and other.type in _BITS:
                        self._borders[one.name.decode()] = other

    def grid(self, name: str) -> Grid | None:
        """The grid of a tensor of the float file; None where it stays in floating point."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.type not in _BITS:
            tensor = self._borders.get(name)
        if tensor is None or tensor.quantization is None or tensor.quantization.scale is None:
            return None
        scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
        bits = _BITS[tensor.type]
        reach = scale * (2**15 - 1 if bits == 16 else (2**8 - 1) / 2)
        number = round((reach - _LEAST) / _STEP)
        if 0 <= number < len(self._names) and abs(_LEAST + number * _STEP - reach) < _STEP / 20:
            return Grid(self._names[number], bits)
        low, high = (-(2 ** (bits - 1)) - zero) * scale, (2 ** (bits - 1) - 1 - zero) * scale
        return Grid(f"{scale} {zero}", bits, (low, high))

    def bits(self, name: str) -> int | None:
        """The bits of a constant that is quantized as activations are; None where it stays in floating point."""
        tensor = self._tensors.get(name)
        return None if tensor is None or tensor.quantization is None else _BITS.get(tensor.type)

    def scale(self, name: str) -> float | None:
        """The first scale of a constant; None where it stays in floating point."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.quantization is None or tensor.quantization.scale is None:
            return None
        return float(tensor.quantization.scale[0])

    def kernel(self, name: str) -> tuple[int | None, bool]:
        """The bits of a constant, None where it stays in floating point, and whether each channel has a scale."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.type not in _KERNEL_BITS or tensor.quantization is None:
            return None, False
        return _KERNEL_BITS[tensor.type], len(tensor.quantization.scale) > 1

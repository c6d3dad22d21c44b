"""The quantization scheme of a file: which values of the Keras model it quantizes, and on which grids.

The scheme is read off the quantizer: the float file is quantized once with a different range for every tensor, and the
resulting scales tell which tensors share a range, and which scales are fixed by their op.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.quantization import quantizer
from tfopt.quantization.aware.tensor_matching import Point, match, parts
from tfopt.quantization.calibration import as_range
from tfopt.quantization.clustered_kernels import codebook
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.masks import Masked
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.weight_matching import StoredKernel, operands, stored_kernels, unknown_kernels
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op, read

# Ranges of the trial: the first, wider than any that an op fixes, and how much wider each is than the one before.
_LEAST, _STEP = 2.0, 1e-2
_BITS = {schema.TensorType.INT8: 8, schema.TensorType.INT16: 16}
_KERNEL_BITS = {schema.TensorType.INT4: 4, schema.TensorType.INT8: 8}
_ON_TABLE = "it is on the grid of a table of embeddings, which moves: training does not round it"


@dataclass(frozen=True)
class Grid:
    """The quantization of one activation, or of several that share a range.

    Args:
        name: The tensor of the float file whose range sets the scale.
        bits: 8 or 16; with 16 the zero point is 0.
        fixed: The range where the op fixes it, such as 0 to 1 after a softmax.
        masked: What is known of its values that a mask puts out of play.
    """

    name: str
    bits: int
    fixed: tuple[float, float] | None = None
    masked: Masked | None = None


@dataclass(frozen=True)
class KernelGrid:
    """The quantization of a kernel.

    Args:
        part: The number of the layer in `parts`.
        attribute: Name of the layer's attribute that holds the kernel.
        bits: 4 or 8; 16 for elementwise operands where activations have 16.
        axes: Axes with one scale per index (per-channel); empty for one scale (per-tensor).
        shared: Whether the kernel is clustered: it has so few distinct values that they must stay distinct.
        symmetric: Whether the zero point is 0; embedding tables and elementwise operands are quantized as activations
            are.
    """

    part: int
    attribute: str
    bits: int
    axes: tuple[int, ...]
    shared: bool = False
    symmetric: bool = True


@dataclass(frozen=True)
class QuantizationScheme:
    """The quantization of all activations and kernels of a file, to be simulated in training.

    Args:
        grids: The grids of activations, numbered by their position.
        points: Grid number by point of the model.
        inputs: Grid number by name of a model input.
        tensors: Grid number by tensor name in the float file, also for tensors with no point in the model.
        kernels: The quantized kernels.
        per_channel: Names of the file's constants with per-channel scales.
        unseen: Tensors with a range of their own in the file and no point in the model.
        unrounded: Constants that the file rounds and training does not, or not in the same way, and why.
        averages: Outputs of ops that round halves away from the integer 0, which is not the value 0.
        nonzero: Inputs of ops that have no value, or no gradient, at 0.
        ends: Probabilities that the model outputs and whose logarithm its loss takes.
        bounded: Bound by grid number of reciprocal roots of which ranges leave out the values at the bound.
        unrolled: Whether recurrent layers are unrolled: ops of their own for each time step.
    """

    grids: tuple[Grid, ...]
    points: Mapping[Point, int]
    inputs: Mapping[str, int]
    tensors: Mapping[str, int]
    kernels: tuple[KernelGrid, ...]
    per_channel: frozenset[str]
    unseen: tuple[str, ...] = ()
    unrounded: tuple[tuple[str, str], ...] = ()
    averages: frozenset[Point] = frozenset()
    nonzero: frozenset[Point] = frozenset()
    ends: frozenset[Point] = frozenset()
    bounded: Mapping[int, float] = field(default_factory=dict)
    unrolled: bool = False


@contextlib.contextmanager
def distinct_constants(model: keras.Model) -> Iterator[None]:
    """Gives variables of one repeated number distinct values within the block.

    A bias of zeros or a scale of ones is nothing to the converter, and what it leaves out comes back once they learn.
    """
    generator = np.random.default_rng(0)
    before: list[tuple[Any, np.ndarray]] = []
    for variable in model.variables:
        value = np.asarray(variable.value.numpy())
        if value.dtype.kind == "f" and value.size > 1 and value.min() == value.max():
            before.append((variable, value))
    try:
        for variable, value in before:
            variable.assign(value + generator.uniform(0.05, 0.15, value.shape).astype(value.dtype))
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def make_scheme(prepared: PreparedModel, unrolled: bool = False) -> QuantizationScheme:
    """The quantization scheme of the file that a prepared model converts to.

    Args:
        prepared: The model, converted to float32.
        unrolled: Whether its recurrent layers are unrolled.

    Raises:
        ConversionError: The quantizer refuses the model.
    """
    source, export = prepared.source, prepared.export
    names = list(dict.fromkeys(t.name for op in source.ops for t in (*op.inputs, *op.outputs) if _computed(t)))
    reach = {name: _LEAST + _STEP * number for number, name in enumerate(names)}
    ranges = {name: as_range(-r, r) for name, r in reach.items()}
    content = quantizer.quantize(
        source, export.mode, ranges, prepared.assigned.precisions, export.io, None, export.scales
    )
    trial = _Trial(content, names)
    found = {name: grid for name in names if (grid := trial.grid(name)) is not None}
    found = {name: _masked(grid, prepared) for name, grid in found.items()}
    grids = list(dict.fromkeys(found.values()))
    tensors = {name: grids.index(grid) for name, grid in found.items()}
    stored = stored_kernels(source)
    inputs = {name: tensors[name] for name in read(source.content).inputs if name in tensors}
    looked_up = {tensor.name for one in stored if one.facts.looks_up for tensor in source.ops[one.op].outputs}
    # Grids of tables move as those are trained, and what is only moved on them needs no rounding.
    of_tables = {tensors[name] for name in looked_up if name in tensors and grids[tensors[name]].fixed is not None}
    matched = match(prepared.model, prepared.unmasked or source.content, prepared.samples)
    moved = _moved(source.ops, tensors)
    left = {n for n, i in tensors.items() if n not in matched or n in inputs or n in looked_up or i in of_tables}
    shown = {name: number for name, number in tensors.items() if name not in left}
    points = {matched[name]: number for name, number in shown.items() if name not in moved}
    # What was only moved stands in for what the model does not show before.
    before = {*inputs.values(), *points.values()}
    points |= {matched[n]: i for n, i in shown.items() if n in moved and i not in before}
    seen = {*inputs.values(), *points.values()}
    on_tables = [name for name, number in tensors.items() if number in of_tables and name not in looked_up | moved]
    unseen = [n for n, i in tensors.items() if i not in seen and grids[i].fixed is None]
    per_channel = frozenset(one.constant for one in stored if trial.kernel(one.constant)[1])
    numbers = {id(part.computes): part.number for part in parts(prepared.model)}
    kernels = (*_kernels(trial, stored, numbers), *_operands(trial, source, stored, numbers))
    return QuantizationScheme(
        grids=tuple(grids),
        points=points,
        inputs=inputs,
        tensors=tensors,
        kernels=kernels,
        per_channel=per_channel,
        unseen=tuple(unseen),
        unrounded=(*_unrounded(trial, source, stored), *((name, _ON_TABLE) for name in on_tables)),
        bounded={tensors[name]: bound for name, bound in _bounded(prepared).items() if name in tensors},
        unrolled=unrolled,
        **_by_op(source, matched),
    )


def _masked(grid: Grid, prepared: PreparedModel) -> Grid:
    """A grid with what is known of values out of play; fixed where it has those of the mask itself."""
    masked = prepared.masks.tensors.get(grid.name)
    if masked is None:
        return grid
    if masked.margin is not None:
        return replace(grid, masked=masked)
    ends = prepared.extremes.ranges()[grid.name]
    return replace(grid, fixed=(float(ends["min"].item()), float(ends["max"].item())))


def _bounded(prepared: PreparedModel) -> Mapping[str, float]:
    """The bounds of reciprocal roots that calibration leaves out, by tensor name; samples are run only for such ops."""
    both = {"MAXIMUM", "RSQRT"} <= {op.name for op in prepared.source.ops}
    return prepared.extremes.bounded if both else {}


def _by_op(source: FloatModel, matched: Mapping[str, Point]) -> dict[str, frozenset[Point]]:
    """The fields of a scheme that hold points because of the op that outputs or reads them."""
    read_on = {tensor.name for op in source.ops for tensor in op.inputs}
    given = {tensor.name for op in source.ops if op.facts.probabilities for tensor in op.outputs}
    names = {
        "averages": {tensor.name for op in source.ops if op.facts.rounds_from_zero for tensor in op.outputs},
        "nonzero": {op.inputs[i].name for op in source.ops if (i := op.facts.nonzero) is not None},
        "ends": given - read_on,
    }
    return {field: frozenset(matched[name] for name in found if name in matched) for field, found in names.items()}


def _computed(tensor: Any) -> bool:
    return not tensor.bytes and tensor.dtype == "FLOAT32"


def _moved(ops: tuple[Op, ...], tensors: Mapping[str, int]) -> set[str]:
    """Tensors that only rearrange the values of others, on the same grid."""
    found = set()
    for op in ops:
        taken = {tensors.get(tensor.name) for tensor in op.inputs if _computed(tensor)}
        given = {tensors.get(tensor.name) for tensor in op.outputs}
        if op.facts.moves_data and len(taken) == 1 and taken == given and None not in taken:
            found |= {tensor.name for tensor in op.outputs}
    return found


def _unrounded(trial: _Trial, source: FloatModel, stored: list[StoredKernel]) -> Iterator[tuple[str, str]]:
    """Constants that the file rounds and training does not, or not in the same way, each with the reason."""
    for name in unknown_kernels(source, stored):
        if trial.kernel(name)[0] is not None:
            yield name, "no weight of the model is this constant: training does not round it"
    for one in stored:
        bits, many = trial.kernel(one.constant)
        apart = np.ptp(np.abs(one.factors)) > 1e-3 * np.abs(one.factors).max()
        if bits is not None and not many and apart and not codebook(one.kernel):
            yield one.constant, "one scale for all channels behind a batch normalization: training rounds without it"


def _kernels(trial: _Trial, stored: list[StoredKernel], numbers: Mapping[int, int]) -> Iterator[KernelGrid]:
    done: set[int] = set()
    for one in stored:
        bits, many = trial.kernel(one.constant)
        if bits is None or id(one.kernel.variable) in done:
            continue
        done.add(id(one.kernel.variable))
        shared = codebook(one.kernel)
        number, axes = numbers[id(one.kernel.place.layer)], one.axes if many and not shared else ()
        yield KernelGrid(number, one.kernel.attribute, bits, axes, shared, not one.facts.looks_up)


def _operands(
    trial: _Trial, source: FloatModel, stored: list[StoredKernel], numbers: Mapping[int, int]
) -> Iterator[KernelGrid]:
    done = {id(one.kernel.variable) for one in stored}
    for kernel, constant in operands(source):
        bits = trial.bits(constant)
        if bits is not None and id(kernel.variable) not in done:
            done.add(id(kernel.variable))
            yield KernelGrid(numbers[id(kernel.place.layer)], kernel.attribute, bits, (), symmetric=False)


class _Trial:
    """A file quantized with a distinct range for every tensor, from which grids are read."""

    def __init__(self, content: bytes, names: list[str]):
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

    def kernel(self, name: str) -> tuple[int | None, bool]:
        """The bits of a constant, None where it stays in floating point, and whether each channel has a scale."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.type not in _KERNEL_BITS or tensor.quantization is None:
            return None, False
        return _KERNEL_BITS[tensor.type], len(tensor.quantization.scale) > 1

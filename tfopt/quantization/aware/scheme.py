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

from tfopt.quantization.aware.fused_layers import fused_layers, inside_of, kernels_of, points_of
from tfopt.quantization.aware.grids import Grid, KernelGrid
from tfopt.quantization.aware.tensor_matching import Point, match, parts
from tfopt.quantization.aware.trial import Trial
from tfopt.quantization.clustered_kernels import codebook
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.recurrent.cell_extremes import cell_state
from tfopt.quantization.weight_matching import StoredKernel, operands, stored_kernels, unknown_kernels
from tfopt.tflite.file import Op, read

_ON_TABLE = "it is on the grid of a table of embeddings, which moves: training does not round it"


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
    source = prepared.source
    names = list(dict.fromkeys(t.name for op in source.ops for t in (*op.inputs, *op.outputs) if _computed(t)))
    trial = Trial(prepared, names)
    cells = {cell_state(op) for op in source.ops if op.facts.recurrent}
    found = {name: grid for name in names if (grid := trial.grid(name)) is not None}
    found = {name: _masked(grid, prepared) for name, grid in found.items() if name not in cells}
    whole = parts(prepared.model)
    fused = fused_layers(source, trial, whole)
    found |= {layer.cell: Grid(layer.cell, 16) for layer in fused}
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
    left |= {layer.output for layer in fused} | inside_of(fused, matched)
    shown = {name: number for name, number in tensors.items() if name not in left}
    points = {matched[name]: number for name, number in shown.items() if name not in moved}
    points |= points_of(fused, tensors, {*inputs.values(), *points.values()})
    # What was only moved stands in for what the model does not show before.
    before = {*inputs.values(), *points.values()}
    points |= {matched[n]: i for n, i in shown.items() if n in moved and i not in before}
    seen = {*inputs.values(), *points.values()}
    on_tables = [name for name, number in tensors.items() if number in of_tables and name not in looked_up | moved]
    unseen = [n for n, i in tensors.items() if i not in seen and grids[i].fixed is None]
    per_channel = frozenset(one.constant for one in stored if trial.kernel(one.constant)[1])
    numbers = {id(part.computes): part.number for part in whole}
    kernels = (
        *_kernels(trial, stored, numbers),
        *_operands(trial, source, stored, numbers),
        *kernels_of(fused, trial, whole),
    )
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


def _unrounded(trial: Trial, source: FloatModel, stored: list[StoredKernel]) -> Iterator[tuple[str, str]]:
    """Constants that the file rounds and training does not, or not in the same way, each with the reason."""
    for name in unknown_kernels(source, stored):
        if trial.kernel(name)[0] is not None:
            yield name, "no weight of the model is this constant: training does not round it"
    for one in stored:
        bits, many = trial.kernel(one.constant)
        apart = np.ptp(np.abs(one.factors)) > 1e-3 * np.abs(one.factors).max()
        if bits is not None and not many and apart and not codebook(one.kernel):
            yield one.constant, "one scale for all channels behind a batch normalization: training rounds without it"


def _kernels(trial: Trial, stored: list[StoredKernel], numbers: Mapping[int, int]) -> Iterator[KernelGrid]:
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
    trial: Trial, source: FloatModel, stored: list[StoredKernel], numbers: Mapping[int, int]
) -> Iterator[KernelGrid]:
    done = {id(one.kernel.variable) for one in stored}
    for kernel, constant in operands(source):
        bits = trial.bits(constant)
        if bits is not None and id(kernel.variable) not in done:
            done.add(id(kernel.variable))
            yield KernelGrid(numbers[id(kernel.place.layer)], kernel.attribute, bits, (), symmetric=False)

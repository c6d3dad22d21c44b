"""Recurrent layers that are one op of a file in integers: where they are in the model, and on which grids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfopt.models.layers import Kernel, LayerRef
from tfopt.quantization.aware.grids import KernelGrid
from tfopt.quantization.aware.tensor_matching import Part, Point
from tfopt.quantization.aware.trial import Trial
from tfopt.quantization.clustered_kernels import codebook
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.recurrent.cell_extremes import cell_state
from tfopt.tflite.file import Op
from tfopt.tflite.ops import LSTM_INPUTS

# Points of a layer that is one op, beside what it returns: its data, its output at every step, its inner state.
DATA, HIDDEN, CELL = "data", "hidden", "cell"
_REPEATED = re.compile(r"_(\d+)$")


@dataclass(frozen=True)
class FusedLayer:
    """One call of a recurrent layer that is an op in integers.

    Args:
        op: The op of the float file.
        place: The layer.
        part: The number of the layer in `parts`.
        call: Index of the call.
    """

    op: Op
    place: LayerRef
    part: int
    call: int

    @property
    def data(self) -> str:
        """Name of the tensor of its data."""
        return self.op.inputs[0].name

    @property
    def output(self) -> str:
        """Name of the tensor of its output."""
        return self.op.outputs[0].name

    @property
    def cell(self) -> str:
        """Name of the variable of its inner state."""
        return cell_state(self.op)

    def point(self, what: str) -> Point:
        """The point of its data, its output or its inner state."""
        return Point(self.part, self.call, op=what)


def fused_layers(source: FloatModel, trial: Trial, parts: Sequence[Part]) -> list[FusedLayer]:
    """The recurrent layers of a model that are one op each, in integers, in the order of their calls.

    Args:
        source: The float file.
        trial: The file in integers.
        parts: All parts of the model.
    """
    numbers = {id(part.computes): part.number for part in parts}
    calls: dict[int, int] = {}
    found = []
    ops = ((op, owners) for op, owners in zip(source.ops, source.owners, strict=True) if op.facts.recurrent)
    for op, owners in sorted(ops, key=lambda pair: _repetition(pair[0])):
        place = next(place for place in owners if hasattr(place.layer, "cell"))
        part = numbers[id(place.layer)]
        call = calls[part] = calls.get(part, -1) + 1
        # Of a layer that is one op in some of its calls alone, it is not known which.
        if trial.bits(cell_state(op)) is not None and place.path not in source.unfused:
            found.append(FusedLayer(op, place, part, call))
    return found


def inside_of(fused: Sequence[FusedLayer], matched: Mapping[str, Point]) -> set[str]:
    """The tensors that match values inside of these layers, which training computes in its own way."""
    numbers = {layer.part for layer in fused}
    return {name for name, point in matched.items() if point.call < 0 and point.part in numbers}


def points_of(fused: Sequence[FusedLayer], tensors: Mapping[str, int], seen: set[int]) -> dict[Point, int]:
    """Grid numbers by point of these layers.

    Args:
        fused: The layers.
        tensors: Grid number by tensor name.
        seen: The grids that have a point without these layers; data on one of those is on its grid already.
    """
    points = {}
    for layer in fused:
        points[layer.point(HIDDEN)] = tensors[layer.output]
        points[layer.point(CELL)] = tensors[layer.cell]
    known = seen | set(points.values())
    return points | {f.point(DATA): tensors[f.data] for f in fused if tensors[f.data] not in known}


def kernels_of(fused: Sequence[FusedLayer], trial: Trial, parts: Sequence[Part]) -> Iterator[KernelGrid]:
    """The grids of the kernels of these layers, each kernel once."""
    numbers = {id(part.computes): part.number for part in parts}
    for layer in {f.part: f for f in fused}.values():
        cell: Any = layer.place.layer.cell
        constants = [tensor.name for tensor in layer.op.inputs if tensor.bytes and len(tensor.shape) > 1]
        count = len(LSTM_INPUTS.kernels)
        for attribute, own in (("kernel", constants[:count]), ("recurrent_kernel", constants[count:])):
            shared = codebook(Kernel(layer.place, attribute, vars(cell)[attribute]))
            one_scale = len({trial.scale(name) for name in own}) == 1
            yield KernelGrid(numbers[id(cell)], attribute, 8, (), shared, gates=1 if one_scale else count)


def _repetition(op: Op) -> int:
    """How often the layer was called before, as TensorFlow has numbered the names."""
    number = _REPEATED.search(op.outputs[0].name)
    return int(number[1]) if number else 0

"""Which kernels of a file are rounded how, which biases are corrected, and what is left alone for which reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.rounding.columns import Columns, columns_of
from tfopt.quantization.rounding.grids import KernelGrid
from tfopt.recipe.modes import ROUNDINGS, Rounding
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op

_CLUSTERED = "its shared values stay as they are"


@dataclass(frozen=True)
class RoundingSettings:
    """How the integers of kernels are chosen.

    Args:
        rounding: A rounding in `ROUNDINGS`.
        bias_correction: Whether biases take up the mean error of the outputs.
        clipping: `mse` for scales of the least squared error of the weights, or `none`.
        by_op: Roundings of single ops by number, as rules say.
        seconds: What a rounding that is the best of others may take of one processor core, as it is estimated; the
            others are not limited.
    """

    rounding: str = "nearest"
    bias_correction: bool = False
    clipping: str = "none"
    by_op: tuple[tuple[int, str], ...] = ()
    seconds: float = 30.0

    @property
    def changes(self) -> bool:
        """Whether the file is another than the quantizer's own."""
        others = any(name != "nearest" for _, name in self.by_op)
        return self.rounding != "nearest" or self.bias_correction or self.clipping != "none" or others


@dataclass(frozen=True)
class RoundedOp:
    """An op whose kernel is rounded, or whose bias is corrected.

    Args:
        number: Its number in the file.
        data: Name of its input.
        kernel: Name of its kernel.
        bias: Name of its bias; empty where it has none.
        columns: How it reads its input.
        grid: The grid of its kernel.
        rounding: How its kernel is rounded.
        fixed: Whether its kernel stays as it is stored.
    """

    number: int
    data: str
    kernel: str
    bias: str
    columns: Columns
    grid: KernelGrid
    rounding: Rounding
    fixed: bool = False


@dataclass(frozen=True)
class Plan:
    """What is done to a file.

    Args:
        ops: What is done to each op by its number.
        notes: What is left alone and why, sentences without a full stop.
    """

    ops: Mapping[int, RoundedOp]
    notes: tuple[str, ...]

    @property
    def by_kernel(self) -> dict[str, list[RoundedOp]]:
        """The ops that read each kernel, in order."""
        found: dict[str, list[RoundedOp]] = {}
        for op in self.ops.values():
            found.setdefault(op.kernel, []).append(op)
        return found


def plan(source: FloatModel, grids: Mapping[str, KernelGrid], settings: RoundingSettings) -> Plan:
    """Plans the roundings of a file.

    Args:
        source: The float file.
        grids: The integer kernels of its quantized form by name.
        settings: How they are chosen.
    """
    operators = flatbuffer.view(source.content).subgraphs[0].operators
    chosen, given = dict[int, RoundedOp](), dict(settings.by_op)
    notes: dict[str, list[str]] = {}
    for number, op in enumerate(source.ops):
        reason = _reason(op)
        if reason:
            notes.setdefault(reason, []).append(_name(source, number))
            continue
        parts = None if op.graph else _parts(source, op, grids)
        if parts is None:
            continue
        data, kernel, bias = parts
        fixed = any(tensor.codebook for tensor in op.kernels)
        rounding = ROUNDINGS[given.get(number, settings.rounding)]
        if fixed and rounding.choose:
            notes.setdefault(_CLUSTERED, []).append(_name(source, number))
        if settings.bias_correction and not bias:
            notes.setdefault("it has no bias to correct", []).append(_name(source, number))
        columns = columns_of(op, operators[number].builtinOptions)
        chosen[number] = RoundedOp(number, data, kernel, bias, columns, grids[kernel], rounding, fixed)
    return Plan(chosen, tuple(_sentences(notes)))


def _reason(op: Op) -> str:
    """Why an op with a kernel is left alone; empty where it is not, and where it has none."""
    if op.facts.loop:
        return "it is a loop"
    if op.facts.recurrent:
        return "it is a recurrent layer as one op"
    if op.graph or op.facts.looks_up or op.facts.kernel_axis is None or op.facts.windows or not op.kernels:
        return ""
    return f"{op.name} is rounded to the nearest only"


def _parts(source: FloatModel, op: Op, grids: Mapping[str, KernelGrid]) -> tuple[str, str, str] | None:
    """The names of an op's input, kernel and bias, the last empty where it has none; None for any other op."""
    if op.facts.windows is None or op.facts.data_kernel_bias is None:
        return None
    data, kernel, bias = op.facts.data_kernel_bias
    if len(op.inputs) <= max(data, kernel) or op.inputs[data].bytes or op.inputs[kernel].name not in grids:
        return None
    if op.inputs[kernel].name not in source.constants:
        return None
    own = op.inputs[bias] if len(op.inputs) > bias and op.inputs[bias].name in source.constants else None
    return op.inputs[data].name, op.inputs[kernel].name, own.name if own else ""


def _sentences(notes: Mapping[str, list[str]]) -> Iterator[str]:
    for reason, names in notes.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield f"rounding leaves {shown} alone: {reason}"


def _name(source: FloatModel, number: int) -> str:
    return ", ".join(place.path for place in source.owners[number]) or source.ops[number].outputs[0].name

"""Quantization sensitivity: the output error when one layer alone is quantized, and the bytes it saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tfopt.errors import ConversionError
from tfopt.metrics import Outputs
from tfopt.quantization import quantizer
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.recipe.modes import MODES
from tfopt.tflite.interpreter import Runner

# Output errors average over samples and outputs, so a few samples rank layers as many do.
SCORED_SAMPLES = 16
PRECISIONS = ("int8", "int4")


@dataclass(frozen=True)
class Group:
    """A unit of quantization: the ops of one layer, or one op between layers.

    Args:
        name: Path of the layer, or name of the op's output.
        kind: Names of the ops.
        ops: Numbers of the ops in the float file.
        floats: Bytes of the kernels in float32; a shared kernel counts once.
    """

    name: str
    kind: str
    ops: tuple[int, ...]
    floats: int


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivity of one layer at one precision, all others in float.

    Args:
        group: The layer.
        precision: `int8` or `int4`; `int16` for activations of 16 bits.
        error: Power of the output's error over that of the output, 0 for no error, infinite for an output that is not
            finite; the mean over outputs.
        bytes_saved: Bytes that the kernels lose against float32.
        algorithm: Algorithm of the smaller error for the kernel's scale, `minmax` or `octav`.
    """

    group: Group
    precision: str
    error: float
    bytes_saved: int
    algorithm: str

    @property
    def error_per_byte(self) -> float:
        """Output error for each byte saved; infinite where nothing is saved."""
        return self.error / self.bytes_saved if self.bytes_saved else float("inf")


def measure(
    prepared: PreparedModel,
    precisions: Sequence[str] = PRECISIONS,
    part: Callable[[float], None] = lambda done: None,
) -> list[Sensitivity]:
    """Measures every layer at every precision with a form of it, the least error per byte saved first.

    Each is quantized alone, weights and activations, and the file is run on LiteRT against the float one. A layer that
    LiteRT cannot load at a precision is left out at that precision.

    Args:
        prepared: The model, converted to float32, with its samples.
        precisions: Precisions to try.
        part: Called with the finished fraction, 0-1.
    """
    work = [(group, precision) for group in groups(prepared.source) for precision in precisions]
    return measure_groups(prepared, work, part)


def measure_groups(
    prepared: PreparedModel,
    work: Sequence[tuple[Group, str]],
    part: Callable[[float], None] = lambda done: None,
    count: int = SCORED_SAMPLES,
) -> list[Sensitivity]:
    """`measure` of some groups, each at its precision, on `count` samples.

    In modes that do not quantize activations beforehand, kernels are quantized as in that mode.
    """
    source, mode = prepared.source, MODES[prepared.export.mode]
    ranges = prepared.ranges()
    base = "none" if mode.static else mode.name
    samples = {name: array[:count] for name, array in prepared.samples.items()}
    expected = Runner(source.content)(samples)
    found = []
    for number, (group, precision) in enumerate(work):
        able = {i: precision for i in group.ops if quantizer.supports(source.ops[i], base, precision)}
        others = {} if mode.static else {i: "float" for i in range(len(source.ops)) if i not in able}
        tries = []
        for algorithm in ("minmax", "octav") if precision == "int4" else ("minmax",):
            if not able:
                continue
            chosen = {i: algorithm for i in able if source.ops[i].kernels}
            try:
                content = quantizer.quantize(source, base, ranges, {**others, **able}, None, chosen)
                error = _error(expected, Runner(content)(samples))
            except ConversionError:  # octav gives a channel of zeros a scale of 0, which XNNPACK does not take
                continue
            tries.append(Sensitivity(group, precision, error, _saved(source, able, precision), algorithm))
        found += sorted(tries, key=lambda s: s.error)[:1]
        part((number + 1) / len(work))
    return sorted(found, key=lambda s: (s.error_per_byte, s.error))


def groups(source: FloatModel, loops: bool = False) -> list[Group]:
    """The ops of a float file by layer.

    Args:
        source: The file.
        loops: Whether those inside of loops are among them.
    """
    members: dict[str, list[int]] = {}
    for index, (op, places) in enumerate(zip(source.ops, source.owners, strict=True)):
        if (loops or not op.graph) and not op.facts.border:
            name = ", ".join(place.path for place in places) or op.outputs[0].name
            members.setdefault(name, []).append(index)
    return [
        Group(
            name,
            "+".join(dict.fromkeys(source.ops[i].name for i in indices)),
            tuple(indices),
            sum({t.name: t.bytes for i in indices for t in source.ops[i].kernels}.values()),
        )
        for name, indices in members.items()
    ]


def _saved(source: FloatModel, changed: Iterable[int], precision: str) -> int:
    """The bytes that the kernels of the changed ops lose; a shared kernel counts once."""
    kernels = {t.name: t for i in changed for t in source.ops[i].kernels}
    bits = 4 if precision == "int4" else 8
    return sum(t.bytes - -(-t.size * bits // 8) for t in kernels.values())


def _error(expected: Outputs, got: Outputs) -> float:
    shares = []
    for name, value in expected.items():
        power = float((value.astype(np.float64) ** 2).mean())
        with np.errstate(invalid="ignore"):
            noise = float(((value.astype(np.float64) - got[name]) ** 2).mean())
        shares.append(noise / power if power else noise)
    return float(np.mean(shares)) if np.isfinite(shares).all() else float("inf")

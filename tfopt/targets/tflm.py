"""`tflm`: TensorFlow Lite for Microcontrollers, which may decode kernels at every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from tfopt.recipe.device_cost import DeviceCost, Measurement
from tfopt.recipe.export import Export
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.target import Target
from tfopt.targets import microcontrollers
from tfopt.tflite.ops import facts_of

if TYPE_CHECKING:
    import numpy as np


# CMSIS-NN's kernel sums up the weights once, when the tensors are allocated, and decoding is at every run.
_KEPT = "the kernels of an LSTM as one op stay as they are: on a Cortex-M they are read before anything is decoded"


def _refusals(export: Export) -> Iterator[str]:
    if export.batch == "any":
        yield "target tflm takes no inputs that are resized. Give batch a number"
    if export.sparse:
        yield "target tflm does not load sparse kernels. Leave sparse out"


def _measure(content: bytes, samples: Mapping[str, np.ndarray]) -> Measurement:
    found = microcontrollers.run(content, samples)
    return Measurement(found.outputs, {"arena_bytes": float(found.arena_bytes)})


def _stored(content: bytes, export: Export) -> float:
    from tfopt.targets.decoding.decoded_file import flash_bytes

    return float(len(content) if export.decode is None else flash_bytes(content, export.decode))


def _cost(content: bytes, export: Export) -> DeviceCost:
    """Flash and arena of the file as it is flashed: with decoded kernels where that is asked for and pays."""
    from tfopt.targets.decoding.decoded_file import decoded
    from tfopt.tflite.file import read

    flashed, notes = content, tuple[str, ...]()
    arena = microcontrollers.arena_bytes
    if export.decode is not None:
        flashed = decoded(content, export.decode).content
        notes = ("no coding makes the file smaller, so no kernel is decoded",)
        if flashed != content:
            saved = f"{len(content):,} -> {len(flashed):,} B of flash"
            costs = f"{arena(content):,} -> {arena(flashed):,} B of arena"
            notes = (f"kernels are decoded at every run: {saved}, {costs}",)
        notes += tuple(dict.fromkeys(_KEPT for op in read(content).ops if op.facts.recurrent))
    figures = {"flash_bytes": len(flashed), "arena_bytes": arena(flashed)}
    own = flashed if flashed != content else None
    return DeviceCost({name: float(value) for name, value in figures.items()}, content=own, notes=notes)


def _coding(export: Export) -> Callable[[np.ndarray], float] | None:
    """The bytes of a kernel that is decoded, by the least of the codings; None where kernels are stored as they are."""
    settings = export.decode
    if settings is None:
        return None
    ram, codings = settings.ram, settings.codings

    def stored(codes: np.ndarray) -> float:
        from tfopt.targets.decoding.decoded_file import kernel_bytes
        from tfopt.targets.decoding.kernel import Kernel

        return float(codes.size if ram and codes.size > ram else kernel_bytes(Kernel(codes), codings))

    return stored


TFLM = Target(
    name="tflm",
    about="LiteRT for Microcontrollers",
    runs=lambda mode: not mode.quantizes or (mode.static and mode.weights == "int8"),
    refusals=_refusals,
    runs_op=lambda op, precision: facts_of(op).runs_on("tflm", precision),
    measure=_measure,
    stream=lambda content, samples: microcontrollers.run(content, samples, keeps_state=True).outputs,
    cost=_cost,
    stored=_stored,
    figures=by_name(
        Figure(
            "flash_bytes", "flash", "bytes", "size", "The file as it is flashed, of decoded kernels where asked for."
        ),
        Figure("arena_bytes", "tensor arena", "bytes", "activations", "The tensor arena."),
    ),
    package="tflite_micro",
    distribution="tflite-micro",
    extra="tflm",
    suffix="tflm",
    size="flash_bytes",
    coding=_coding,
    refuses="inputs that are resized, sparse kernels, and modes with half-precision or dynamic kernels",
    decodes=True,
    resizes=False,
    rank=20,
)

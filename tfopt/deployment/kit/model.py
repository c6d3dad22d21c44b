"""What a kit is made of: the file to flash, how it is fed and read, its arena, its golden vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tfopt.deployment.kit.array import Form
from tfopt.deployment.kit.c_names import end_names, prefix_of
from tfopt.recipe.details.usage import TensorUsage, Usage

# What is added to a measured arena: kernels made for one chip have scratch buffers of their own.
MARGIN_SHARE, LEAST_MARGIN, ALIGNMENT = 0.1, 1024, 16


@dataclass(frozen=True)
class Arena:
    """The tensor arena that firmware reserves.

    Args:
        measured: Bytes that the file was seen to need, on TFLM's reference kernels on a PC; None where it was not run.
        estimate: Bytes that are enough for all activations at once, for a file that was not run.
        planned: Bytes of the tensors as the target's compiler has placed them; None where it has placed none.
        tables: Bytes for what TFLM keeps besides, where tensors are planned.
    """

    measured: int | None
    estimate: int
    planned: int | None = None
    tables: int = 0

    @property
    def known(self) -> int | None:
        """Bytes that the file needs: as measured, or as planned with the tables; None where neither is there."""
        return self.planned + self.tables if self.measured is None and self.planned is not None else self.measured

    @property
    def margin(self) -> int:
        """Bytes on top of the known ones."""
        return 0 if self.known is None else max(LEAST_MARGIN, round(MARGIN_SHARE * self.known))

    @property
    def bytes(self) -> int:
        """Bytes to reserve, a multiple of 16."""
        wanted = self.estimate if self.known is None else self.known + self.margin
        return -(-wanted // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Golden:
    """Golden vectors: inputs in the file's own types, and the outputs that the file has given for them.

    Args:
        inputs: `(vectors, batch, ...)` by name.
        outputs: `(vectors, batch, ...)` by name.
        runtime: The runtime that has given the outputs.
        samples: Where the inputs are from, in a few words.
        steps: How far an integer may be off on another runtime or other kernels.
        difference: The largest difference of an integer output from LiteRT's, where another runtime gave the outputs.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    runtime: str
    samples: str
    steps: int
    difference: int | None = None

    @property
    def count(self) -> int:
        """Number of vectors."""
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class End:
    """An input or output with its name in C.

    Args:
        usage: How it is fed or read.
        name: Its name in C.
        side: `in` or `out`.
    """

    usage: TensorUsage
    name: str
    side: str

    @property
    def place(self) -> int:
        """Its place among the inputs or outputs of the graph."""
        return self.usage.place


@dataclass(frozen=True)
class KitModel:
    """A file with all that its kit says of it.

    Args:
        name: The model's name.
        content: Bytes of the `.tflite` for LiteRT.
        flashed: Bytes of the file that goes into the device: the same, or one that was made for the device from it.
        flashed_file: Name of that file.
        target: The target that the file was made for, such as `ethos-u55-128`; empty for the `.tflite` itself.
        usage: How it is fed and read.
        ops: Names of the ops of the file that is flashed, each once, in order.
        tensors: Number of tensors of the file that is flashed.
        arena: The tensor arena.
        golden: Golden vectors.
        form: How the array is written.
        not_on_tflm: Why there is no code for TFLM; empty where there is.
        figures: What was measured of the model, by metric name.
        scores: Names of the metrics among them that tell the accuracy.
        lineage: The stages that made the file, the first first, each a few words.
        notes: What has to be known of the file, each a line.
        card: A model card to take; one is made of the above where there is none.
    """

    name: str
    content: bytes = field(repr=False)
    flashed: bytes = field(repr=False)
    flashed_file: str
    target: str
    usage: Usage
    ops: tuple[str, ...]
    tensors: int
    arena: Arena
    golden: Golden = field(repr=False)
    form: Form = "string"
    not_on_tflm: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    lineage: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    card: str | None = field(default=None, repr=False)

    @cached_property
    def prefix(self) -> str:
        """The beginning of its names in C."""
        return prefix_of(self.name)

    @property
    def macro(self) -> str:
        """The beginning of its macros."""
        return self.prefix.upper()

    @cached_property
    def inputs(self) -> tuple[End, ...]:
        """The inputs in the order of the graph, by which TFLM counts."""
        return _placed(self.usage.inputs, "in")

    @cached_property
    def outputs(self) -> tuple[End, ...]:
        """The outputs in the order of the graph."""
        return _placed(self.usage.outputs, "out")


def _placed(ends: tuple[TensorUsage, ...], side: str) -> tuple[End, ...]:
    found = [End(end, name, side) for end, name in zip(ends, end_names(ends), strict=True)]
    return tuple(sorted(found, key=lambda end: end.place))

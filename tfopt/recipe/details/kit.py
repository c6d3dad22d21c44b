"""Detail on the kits that were written for files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class ExportedKit:
    """The kit of one file.

    Args:
        folder: Its folder, relative to that of the stage.
        flashed: Name of the file in it that goes into a device.
        flashed_bytes: Bytes of that file.
        arena_bytes: Bytes of tensor arena that the kit reserves.
        arena_measured: Whether they are measured, with a margin, and no estimate.
        vectors: Number of golden vectors.
        runtime: The runtime that has given the outputs of the golden vectors.
        not_on_tflm: Why there is no code for LiteRT for Microcontrollers; empty where there is.
    """

    folder: str
    flashed: str
    flashed_bytes: int
    arena_bytes: int
    arena_measured: bool
    vectors: int
    runtime: str
    not_on_tflm: str = ""


@dataclass(frozen=True)
class ExportedKits(Detail):
    """The kits of a stage, by the name of the stage that made the file."""

    name: ClassVar[str] = "kits"

    kits: dict[str, ExportedKit]

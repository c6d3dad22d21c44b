"""Figures: what a target tells of a file, such as the memory that it takes there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What makes a figure smaller: fewer bytes of kernels as they are stored; fewer activations at once; fewer operations;
# or nothing that is known.
Kind = Literal["size", "activations", "time", "count"]
# `cycles` and `operators` are whole numbers.
FigureUnit = Literal["bytes", "seconds", "milliseconds", "microseconds", "cycles", "operators", ""]


@dataclass(frozen=True)
class Figure:
    """What a target tells of a file; the smaller the better.

    Limits of a search, words and columns of reports, and estimates before a file is made all come from here.

    Args:
        name: The metric's name, such as `sram_bytes`. It means the same on every target that has it.
        title: What it is, in few words, such as `SRAM`.
        unit: What it is counted in; empty for a number of its own.
        kind: What makes it smaller.
        about: What a limit on it limits, a sentence for the reference of settings.
        column: Whether tables of several targets have a column for it.
    """

    name: str
    title: str
    unit: FigureUnit
    kind: Kind
    about: str = ""
    column: bool = True

    @property
    def below_one(self) -> bool:
        """Whether an amount below 1 is one of its own, and not a share."""
        return self.unit in ("seconds", "milliseconds", "")


def by_name(*figures: Figure) -> dict[str, Figure]:
    """Figures by their names, as a target has them, the most telling first."""
    return {figure.name: figure for figure in figures}

"""Parallel axes: a line for each trial through its value on every axis, such as the trials of a tune."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfopt.report.charts.axes import Scale, scale_of, tick_names
from tfopt.report.charts.chart import Chart, add, canvas, listed, path_of

HEIGHT, TOP, SIDE = 340.0, 46.0, 70.0
# Width between two axes, and characters of an axis's name and of a value's.
BETWEEN = 150.0
FITTING = 20
# Different numbers up to which an axis is marked at each of them, and not at round ones.
FEW = 5
# Shades from the worst to the best, classes in the style sheet.
SHADES = 5


@dataclass(frozen=True)
class ParallelLine:
    """One line.

    Args:
        title: What is shown while the pointer is over it.
        values: Its value on each axis: numbers, words, or None where it has none.
        rank: From 0, the worst, to 1, the best, for its colour.
        chosen: Whether it stands out.
    """

    title: str
    values: Sequence[Any]
    rank: float
    chosen: bool = False


@dataclass(frozen=True)
class ParallelAxes(Chart):
    """Lines through parallel axes, the better ones darker.

    Args:
        label: What the chart shows, for those who do not see it.
        axes: The name of each axis.
        lines: The lines, of which the best are drawn on top.
    """

    label: str
    axes: Sequence[str]
    lines: Sequence[ParallelLine]
    wide = True

    def draw(self) -> ET.Element:
        """The picture."""
        gaps = max(len(self.axes) - 1, 1)
        svg = canvas(2 * SIDE + BETWEEN * gaps, HEIGHT)
        scales = [_scale([line.values[index] for line in self.lines]) for index in range(len(self.axes))]
        for line in sorted(self.lines, key=lambda line: (line.chosen, line.rank)):
            places = [
                (SIDE + BETWEEN * index, scale.place(value))
                for index, (scale, value) in enumerate(zip(scales, line.values, strict=True))
                if value is not None
            ]
            style = "chosen" if line.chosen else f"shade{min(int(line.rank * SHADES), SHADES - 1)}"
            add(svg, "polyline", line.title, style=f"line {style}", points=path_of(places))
        for index, (name, scale) in enumerate(zip(self.axes, scales, strict=True)):
            _axis(svg, SIDE + BETWEEN * index, name, scale, index % 2 == 1 and len(self.axes) > 2)
        return svg

    def description(self) -> str:
        """The best lines."""
        return listed([line.title for line in sorted(self.lines, key=lambda line: (not line.chosen, -line.rank))])


@dataclass(frozen=True)
class _Places:
    """The places of the values on one axis, and its marks."""

    scale: Scale
    words: Sequence[str] | None
    given: Sequence[float] = ()

    def place(self, value: Any) -> float:
        return self.scale(value if self.words is None else self.words.index(str(value)))

    def marks(self) -> list[tuple[float, str]]:
        if self.words is not None:
            return [(self.scale(index), word) for index, word in enumerate(self.words)]
        marked = self.given if len(self.given) <= FEW else self.scale.ticks(5)
        return [(self.scale(value), name) for value, name in zip(marked, tick_names(marked), strict=True)]


def _scale(values: Sequence[Any]) -> _Places:
    """Numbers as they are, on a logarithmic axis where they range widely; words in their order."""
    given = [value for value in values if value is not None]
    numbers = [value for value in given if isinstance(value, int | float) and not isinstance(value, bool)]
    bottom = HEIGHT - 24
    if len(numbers) == len(given):
        wide = bool(numbers) and min(numbers) > 0 and max(numbers) >= 5 * min(numbers)
        return _Places(scale_of(numbers, bottom, TOP, log=wide), None, sorted(set(numbers)))
    words = list(dict.fromkeys(str(value) for value in given))
    return _Places(scale_of(range(len(words)), bottom, TOP), words)


def _axis(svg: ET.Element, at: float, name: str, scale: _Places, low: bool) -> None:
    add(svg, "line", style="base", x1=at, x2=at, y1=TOP - 6, y2=HEIGHT - 18)
    shown = name if len(name) <= FITTING else f"…{name[1 - FITTING :]}"
    add(svg, "text", name, style="axis", text=shown, x=at, y=30 if low else 14, text_anchor="middle")
    for place, word in scale.marks():
        add(svg, "line", style="base", x1=at - 4, x2=at, y1=place, y2=place)
        add(svg, "text", word, style="tick halo", text=word[:FITTING], x=at - 7, y=place + 4, text_anchor="end")

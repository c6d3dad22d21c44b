"""Matrices of shades, such as a confusion matrix."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfopt.report.charts.chart import WIDTH, Chart, add, canvas, listed

# Rows up to which each cell shows its number, and characters of a row's name.
NUMBERED = 12
FITTING = 12
# The shades of what is right and what is wrong from which on the count in a cell is read better in the other ink, on
# paper and in the dark; black and white give at least 4.5:1 on one of their sides.
INKS = {"right": (0.92, 0.59), "wrong": (0.87, 0.60)}


@dataclass(frozen=True)
class Matrix(Chart):
    """A matrix of counts, each row shaded by its shares.

    Args:
        label: What the chart shows, for those who do not see it.
        names: Name of each row and column.
        counts: The counts by row and column.
        row_title: What a row is.
        column_title: What a column is.
        sentence: What a cell says, of its row, its column, its count and its share of the row.
    """

    label: str
    names: Sequence[str]
    counts: Sequence[Sequence[float]]
    row_title: str
    column_title: str
    sentence: str = "{row} taken for {column}: {count:,.0f} ({share:.1%})"

    def draw(self) -> ET.Element:
        """The picture."""
        size = len(self.names)
        names = [name if len(name) <= FITTING else f"{name[: FITTING - 1]}…" for name in self.names]
        left = 30 + 8.5 * max(len(name) for name in names)
        cell = min((WIDTH - left) / size, 44.0)
        top = 46.0
        svg = canvas(WIDTH, top + cell * size + 4)
        add(svg, "text", style="axis", text=self.column_title, x=left + cell * size / 2, y=12, text_anchor="middle")
        middle = top + cell * size / 2
        turned = f"rotate(-90 10 {middle:.1f})"
        add(svg, "text", style="axis", text=self.row_title, x=10, y=middle, text_anchor="middle", transform=turned)
        every = max(1, -(-26 // int(cell * 2))) if cell < 13 else 1
        longest = max(len(name) for name in names)
        for index, name in enumerate(names[:: every or 1]):
            at = (index * every + 0.5) * cell
            add(svg, "text", style="tick", text=name, x=left - 6, y=top + at + 4, text_anchor="end")
            if longest * 7.5 <= cell * every or len(name) <= 2:
                add(svg, "text", style="tick", text=name, x=left + at, y=top - 8, text_anchor="middle")
        for row, counts in enumerate(self.counts):
            for column in range(len(counts)):
                self._cell(svg, row, column, (left + cell * column, top + cell * row, cell))
        return svg

    def _cell(self, svg: ET.Element, row: int, column: int, place: tuple[float, float, float]) -> None:
        """Draws a cell at a place, left, top and the length of its sides."""
        x, y, side = place
        count = self.counts[row][column]
        share = count / max(sum(self.counts[row]), 1)
        title = self.sentence.format(row=self.names[row], column=self.names[column], count=count, share=share)
        tone = "right" if row == column else "wrong"
        shade = f"{0 if not count else 0.12 + 0.88 * share ** (1.0 if row == column else 0.5):.2f}"
        box: dict[str, Any] = {"x": x, "y": y, "width": side - 1, "height": side - 1, "rx": 2}
        add(svg, "rect", style="ground", **box)
        add(svg, "rect", title, f"cell {tone}", fill_opacity=shade, **box)
        if len(self.names) <= NUMBERED and count:
            ink = ("count", "count mid", "count strong")[sum(float(shade) >= at for at in INKS[tone])]
            add(svg, "text", style=ink, text=f"{count:,.0f}", x=x + side / 2, y=y + side / 2 + 4)

    def description(self) -> str:
        """How many are on the diagonal, and the largest counts beside it."""
        whole = sum(map(sum, self.counts))
        right = sum(counts[row] for row, counts in enumerate(self.counts))
        beside = sorted(
            (
                (count, row, column)
                for row, counts in enumerate(self.counts)
                for column, count in enumerate(counts)
                if count and row != column
            ),
            key=lambda one: -one[0],
        )
        told = [
            self.sentence.format(
                row=self.names[row], column=self.names[column], count=count, share=count / max(sum(self.counts[row]), 1)
            )
            for count, row, column in beside
        ]
        return f"{right:,.0f} of {whole:,.0f} are on the diagonal. {listed(told)}"

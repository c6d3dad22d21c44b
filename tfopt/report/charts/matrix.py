"""Matrices of shades, such as a confusion matrix."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from tfopt.report.charts.chart import WIDTH, Chart, add, canvas

# Rows up to which each cell shows its number, and characters of a row's name.
NUMBERED = 12
FITTING = 12


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
        top, numbered = 46.0, size <= NUMBERED
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
            whole = max(sum(counts), 1)
            for column, count in enumerate(counts):
                share = count / whole
                title = self.sentence.format(row=self.names[row], column=self.names[column], count=count, share=share)
                x, y = left + cell * column, top + cell * row
                style = "cell right" if row == column else "cell wrong"
                shade = f"{0 if not count else 0.12 + 0.88 * share ** (1.0 if row == column else 0.5):.2f}"
                add(svg, "rect", style="ground", x=x, y=y, width=cell - 1, height=cell - 1, rx=2)
                add(svg, "rect", title, style, x=x, y=y, width=cell - 1, height=cell - 1, rx=2, fill_opacity=shade)
                if numbered and count:
                    strong = "count strong" if float(shade) > 0.6 else "count"
                    add(svg, "text", style=strong, text=f"{count:,.0f}", x=x + cell / 2, y=y + cell / 2 + 4)
        return svg

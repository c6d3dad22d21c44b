"""Bars: a value for each name, such as the bytes of each layer, below each other with the name above its bars."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from tfopt.report.charts.axes import scale_of
from tfopt.report.charts.chart import WIDTH, Chart, Key, add, canvas, finite, listed, series_style

# Characters of a name that fit beside the figure on its right.
FITTING = 40
BAR = 7.0


@dataclass(frozen=True)
class Bar:
    """The bars of one name.

    Args:
        name: What they are of.
        values: A value for each of the series; None where there is none.
        text: The values as text, at the right.
        flagged: Whether it stands out, such as a layer that loses too much.
    """

    name: str
    values: Sequence[float | None]
    text: str
    flagged: bool = False


@dataclass(frozen=True)
class Bars(Chart):
    """Horizontal bars.

    Args:
        label: What the chart shows, for those who do not see it.
        bars: The bars, from the top down.
        series: Names of the values of each bar, such as before and after.
        log: Whether equal ratios are equally far apart.
        limit: A value that is marked by a line through all bars.
    """

    label: str
    bars: Sequence[Bar]
    series: Sequence[str] = ("",)
    log: bool = False
    limit: float | None = None

    def legend(self) -> Sequence[Key]:
        """A key for each series, where there are several."""
        keys = [Key(name, series_style(index)) for index, name in enumerate(self.series)]
        return keys if len(self.series) > 1 else ()

    def draw(self) -> ET.Element:
        """The picture."""
        row = 24 + (BAR + 2) * len(self.series) + 6
        svg = canvas(WIDTH, row * len(self.bars) + 4)
        values = [value for bar in self.bars for value in bar.values] + ([] if self.limit is None else [self.limit])
        room, ends = (0.1, ()) if self.log else (0.0, (0.0,))
        scale = scale_of(values, 0.0, WIDTH, self.log, margin=room, include=ends)
        zero = scale.start if self.log else scale(0)
        for index, bar in enumerate(self.bars):
            top = row * index + 16
            name = bar.name if len(bar.name) <= FITTING else f"{bar.name[:15]}…{bar.name[16 - FITTING :]}"
            add(svg, "text", bar.name, style="name", text=name, x=0, y=top)
            add(svg, "text", style="tick", text=bar.text, x=WIDTH, y=top, text_anchor="end")
            for place, (word, value) in enumerate(zip(self.series, bar.values, strict=True)):
                y = top + 6 + place * (BAR + 2)
                add(svg, "rect", style="track", x=0, y=y, width=WIDTH, height=BAR, rx=2)
                if value is None or not finite(value) or (self.log and value <= 0):
                    continue
                left, right = sorted((zero, min(max(scale(value), 0.0), WIDTH)))
                style = f"bar {'flag' if bar.flagged else series_style(place)}"
                title = f"{bar.name}{f', {word}' if word else ''}: {value:,.6g}"
                add(svg, "rect", title, style=style, x=left, y=y, width=max(right - left, 1.5), height=BAR, rx=2)
        if self.limit is not None:
            at = scale(self.limit)
            add(svg, "line", f"{self.limit:,.6g}", style="limit", x1=at, x2=at, y1=0, y2=row * len(self.bars))
        return svg

    def description(self) -> str:
        """The bars with their figures."""
        return listed([f"{bar.name}: {bar.text}" for bar in self.bars])

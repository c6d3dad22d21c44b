"""Histograms: how often values occur, before and after."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from tfopt.report.charts.axes import Axis, Frame, frame
from tfopt.report.charts.chart import WIDTH, Chart, Key, add, listed, path_of, series_style


@dataclass(frozen=True)
class Outline:
    """The counts of one set of values.

    Args:
        name: Its name in the legend.
        edges: The edges of the bins, ascending, one more than counts.
        counts: How many values fall into each bin.
        zeros: How many values are exactly 0, which stand apart as a bar of their own; None where they are in the bins.
    """

    name: str
    edges: Sequence[float]
    counts: Sequence[float]
    zeros: float | None = None


@dataclass(frozen=True)
class Histogram(Chart):
    """Histograms over one another.

    Args:
        label: What the chart shows, for those who do not see it.
        outlines: The histograms, such as before and after.
        x_title: What the values are.
        y_title: What is counted.
        log_y: Whether counts are on a logarithmic axis.
        verticals: Lines at a value, with their names, such as a median.
        height: Height of the picture.
        log_x: Whether values are on a logarithmic axis.
        reach_x: Values that the axis reaches as well, such as those of a chart beside it.
    """

    label: str
    outlines: Sequence[Outline]
    x_title: str
    y_title: str = "weights"
    log_y: bool = False
    verticals: Sequence[tuple[float, str]] = ()
    height: float = 220.0
    log_x: bool = False
    reach_x: Sequence[float] = ()

    def legend(self) -> Sequence[Key]:
        """A key for each histogram, where there are several."""
        keys = [Key(one.name, series_style(index)) for index, one in enumerate(self.outlines)]
        return keys if len(keys) > 1 else ()

    def draw(self) -> ET.Element:
        """The picture."""
        edges = [edge for one in self.outlines for edge in one.edges] + [at for at, _ in self.verticals]
        counts = [count for one in self.outlines for count in (*one.counts, one.zeros or 0)]
        lowest = [0.5] if self.log_y else [0.0]
        y = Axis(self.y_title, [count for count in counts if count > 0] or [1.0], self.log_y, include=lowest)
        drawn = frame(Axis(self.x_title, [*edges, *self.reach_x], self.log_x), y, WIDTH, self.height)
        for index, one in enumerate(self.outlines):
            _draw(drawn, one, series_style(index), index)
        for number, (at, text) in enumerate(self.verticals):
            drawn.vertical(at, text, line=number)
        return drawn.svg

    def description(self) -> str:
        """Where the values of each histogram are."""
        said = []
        for one in self.outlines:
            kept = [index for index, count in enumerate(one.counts) if count]
            if kept:
                ends = f"{one.edges[kept[0]]:.3g} to {one.edges[kept[-1] + 1]:.3g}"
                zeros = f", and {one.zeros:,.0f} zeros" if one.zeros else ""
                said.append(f"{one.name}: {sum(one.counts):,.0f} {self.y_title} from {ends}{zeros}")
        return listed([*said, *(f"{text}: {at:.4g}" for at, text in self.verticals)])


def _draw(drawn: Frame, one: Outline, style: str, index: int) -> None:
    floor = drawn.y.start

    def height(count: float) -> float:
        return drawn.y(max(count, drawn.y.low))

    corners = [(drawn.x(one.edges[0]), floor)]
    for left, right, count in zip(one.edges, one.edges[1:], one.counts, strict=False):
        corners += [(drawn.x(left), height(count)), (drawn.x(right), height(count))]
    corners.append((drawn.x(one.edges[-1]), floor))
    title = f"{one.name}: {sum(one.counts):,.0f} values" + ("" if one.zeros is None else f" and {one.zeros:,.0f} zeros")
    add(drawn.svg, "polygon", title, style=f"area {style}", points=path_of(corners))
    if one.zeros:
        left, top = drawn.x(0.0) - 4 + index * 4, height(one.zeros)
        add(
            drawn.svg,
            "rect",
            f"{one.name}: {one.zeros:,.0f} exact zeros",
            style=f"bar {style}",
            x=left,
            y=top,
            width=4,
            height=max(floor - top, 1),
        )

"""Lines: values over steps, such as a loss over epochs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from tfopt.report.charts.axes import Axis, Frame, frame, short
from tfopt.report.charts.chart import WIDTH, Chart, Key, add, finite, listed, path_of, series_style

# Points of a line that are drawn, evenly chosen, and points up to which each has a mark of its own.
MOST_POINTS = 300
MARKED_POINTS = 40


@dataclass(frozen=True)
class Mark:
    """A point on a line that stands out, with what it says."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Line:
    """A line.

    Args:
        name: Its name in the legend.
        x: The steps.
        y: The values; None and values that are not finite leave a gap.
        marks: Points on it that stand out.
        style: Its classes in the style sheet; by default a colour of its own.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    marks: Sequence[Mark] = ()
    style: str = ""


@dataclass(frozen=True)
class Backdrop:
    """A share over the steps, shaded behind the lines from none at the foot to all at the top.

    Args:
        title: What it is.
        x: The steps.
        shares: The shares, 0-1.
        style: Its classes in the style sheet.
    """

    title: str
    x: Sequence[float]
    shares: Sequence[float]
    style: str


@dataclass(frozen=True)
class Lines(Chart):
    """Lines over a shared axis.

    Args:
        label: What the chart shows, for those who do not see it.
        lines: The lines.
        x_title: What the steps are.
        y_title: What the values are.
        log_x: Whether the axis of the steps is logarithmic.
        log_y: Whether the axis of the values is logarithmic.
        whole_x: Whether the steps are whole numbers.
        include: Values that the axis of the values ends at, such as 0.
        verticals: Lines at a step, with their names, such as a limit.
        horizontals: Lines at a value, with their names.
        keyed: Whether the lines are in a legend.
        backdrops: What is shaded behind the lines, such as a pruning schedule.
        shaded: What the shares of the backdrops are of, the name of their axis.
    """

    label: str
    lines: Sequence[Line]
    x_title: str
    y_title: str
    log_x: bool = False
    log_y: bool = False
    whole_x: bool = False
    include: Sequence[float] = ()
    verticals: Sequence[tuple[float, str]] = ()
    horizontals: Sequence[tuple[float, str]] = ()
    keyed: bool = True
    backdrops: Sequence[Backdrop] = ()
    shaded: str = "shaded"

    def styles(self) -> list[str]:
        """The classes of each line."""
        return [line.style or series_style(index) for index, line in enumerate(self.lines)]

    def legend(self) -> Sequence[Key]:
        """A key for each line, where there are several."""
        shown = self.keyed and len(self.lines) > 1
        return [Key(line.name, style) for line, style in zip(self.lines, self.styles(), strict=True)] if shown else ()

    def draw(self) -> ET.Element:
        """The picture."""
        x_values = [x for line in self.lines for x in line.x] + [x for x, _ in self.verticals]
        y_values = [y for line in self.lines for y in line.y] + [y for y, _ in self.horizontals]
        marks = [mark for line in self.lines for mark in line.marks]
        x = Axis(self.x_title, x_values, self.log_x, whole=self.whole_x)
        y = Axis(self.y_title, y_values + [mark.y for mark in marks], self.log_y, self.include)
        drawn = frame(x, y, WIDTH, 300, self.shaded if self.backdrops else "")
        for backdrop in self.backdrops:
            _shade(drawn, backdrop)
        for at, text in self.horizontals:
            drawn.horizontal(at, text)
        for at, text in self.verticals:
            drawn.vertical(at, text)
        for line, style in zip(self.lines, self.styles(), strict=True):
            _draw(drawn, line, style, self.log_x, self.log_y)
        return drawn.svg

    def description(self) -> str:
        """Where each line begins and ends, and what is marked."""
        said = []
        for line in self.lines:
            known = [(x, y) for x, y in zip(line.x, line.y, strict=True) if finite(y)]
            if known:
                (first, low), (last, high) = known[0], known[-1]
                said.append(f"{line.name}: {low:.4g} at {short(first)}, {high:.4g} at {short(last)}")
        return listed([*said, *(mark.title for line in self.lines for mark in line.marks)])


def _shade(drawn: Frame, backdrop: Backdrop) -> None:
    foot, whole = drawn.y.start, drawn.y.end - drawn.y.start
    tops = [(drawn.x(x), foot + whole * share) for x, share in zip(backdrop.x, backdrop.shares, strict=True)]
    corners = [(tops[0][0], foot), *tops, (tops[-1][0], foot)]
    add(drawn.svg, "polygon", backdrop.title, style=f"backdrop {backdrop.style}", points=path_of(corners))


def _draw(drawn: Frame, line: Line, style: str, log_x: bool, log_y: bool) -> None:
    pairs = list(zip(line.x, line.y, strict=True))
    for part in _parts(pairs, log_x, log_y):
        kept = _thinned(part)
        places = [(drawn.x(x), drawn.y(y)) for x, y in kept]
        add(drawn.svg, "polyline", line.name, style=f"line {style}", points=path_of(places))
        if len(kept) <= MARKED_POINTS:
            for (x, y), (left, top) in zip(kept, places, strict=True):
                title = f"{line.name}, {short(x)}: {y:.4g}"
                add(drawn.svg, "circle", title, style=f"dot {style}", cx=left, cy=top, r=2.6)
    for mark in line.marks:
        left, top = drawn.x(mark.x), drawn.y(mark.y)
        place = path_of([(left, top - 7), (left + 7, top), (left, top + 7), (left - 7, top)])
        add(drawn.svg, "polygon", mark.title, style=f"mark {style}", points=place)


def _parts(pairs: Sequence[tuple[float, float | None]], log_x: bool, log_y: bool) -> list[list[tuple[float, float]]]:
    """The stretches of a line without a gap."""
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in pairs:
        if y is not None and finite(x) and finite(y) and (x > 0 or not log_x) and (y > 0 or not log_y):
            parts[-1].append((x, y))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST_POINTS` of the points, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(index * (len(points) - 1) / (MOST_POINTS - 1))] for index in range(MOST_POINTS)]

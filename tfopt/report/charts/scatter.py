"""Points in two dimensions, such as accuracy against bytes, with steps between them and limits."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfopt.report.charts.axes import Axis, Frame, frame
from tfopt.report.charts.chart import WIDTH, Chart, Key, add, finite, number, path_of

# Height of a label's line, and width of its characters, in units of a chart.
LINE, CHARACTER = 17.0, 7.6


@dataclass(frozen=True)
class Point:
    """A point.

    Args:
        x: Its value on the horizontal axis.
        y: Its value on the vertical axis.
        title: What is shown while the pointer is over it.
        label: Its name, written beside it; empty for none.
        style: Its classes in the style sheet, such as `s0`; `chosen` is drawn as a star.
        size: Its radius.
    """

    x: float
    y: float
    title: str
    label: str = ""
    style: str = "s0"
    size: float = 5.0


@dataclass(frozen=True)
class Limit:
    """A line at a value of an axis, with its name."""

    axis: Literal["x", "y"]
    at: float
    text: str


@dataclass(frozen=True)
class Scatter(Chart):
    """Points, with lines from one to the next.

    Args:
        label: What the chart shows, for those who do not see it.
        points: The points; those that come last are drawn on top.
        x_title: What the horizontal axis shows.
        y_title: What the vertical axis shows.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Whether the vertical axis is logarithmic.
        steps: Lines along points, each a list of their places `(x, y)`.
        stairs: Lines along points that go right, then up, as a front does.
        limits: Limits on the axes.
        keys: The legend.
        height: Height of the picture.
        ends_y: Values that the vertical axis does not go beyond, such as 0 and 1 of a share.
    """

    label: str
    points: Sequence[Point]
    x_title: str
    y_title: str
    log_x: bool = False
    log_y: bool = False
    steps: Sequence[Sequence[tuple[float, float]]] = ()
    stairs: Sequence[Sequence[tuple[float, float]]] = ()
    limits: Sequence[Limit] = ()
    keys: Sequence[Key] = ()
    height: float = 330.0
    ends_y: tuple[float, float] = (-math.inf, math.inf)

    def legend(self) -> Sequence[Key]:
        """The keys."""
        return self.keys

    def draw(self) -> ET.Element:
        """The picture."""
        shown = [one for one in self.points if finite(one.x) and finite(one.y) and (one.x > 0 or not self.log_x)]
        limits = {axis: [limit.at for limit in self.limits if limit.axis == axis] for axis in ("x", "y")}
        x = Axis(self.x_title, [one.x for one in shown] + limits["x"], self.log_x)
        y = self._upright([one.y for one in shown] + limits["y"])
        drawn = frame(x, y, WIDTH, self.height)
        for limit in self.limits:
            (drawn.vertical if limit.axis == "x" else drawn.horizontal)(limit.at, limit.text)
        for way in self.stairs:
            turns = [(before, (at[0], before[1])) for before, at in itertools.pairwise(way)]
            corners = [corner for turn in turns for corner in turn]
            _way(drawn, [*corners, *way[-1:]], "line front")
        for way in self.steps:
            _way(drawn, way, "line step")
        for one in shown:
            _point(drawn, one)
        _names(drawn, [one for one in shown if one.label])
        return drawn.svg

    def _upright(self, values: list[float]) -> Axis:
        """The vertical axis, which ends at its ends where its room would go beyond them."""
        low, high = min(values, default=0.0), max(values, default=0.0)
        room = (high - low) / 10 or abs(high) / 10 or 1.0
        ends = [end for end in self.ends_y if math.isfinite(end) and low - room < end < high + room]
        return Axis(self.y_title, values, self.log_y, include=ends)


def _way(drawn: Frame, places: Sequence[tuple[float, float]], style: str) -> None:
    if len(places) > 1:
        add(drawn.svg, "polyline", style=style, points=path_of([(drawn.x(x), drawn.y(y)) for x, y in places]))


def _point(drawn: Frame, one: Point) -> None:
    left, top = drawn.x(one.x), drawn.y(one.y)
    if "chosen" in one.style.split():
        star = "M0-9 2.6-3.1 9-2.6 4.2 1.8 5.6 8 0 4.8-5.6 8-4.2 1.8-9-2.6-2.6-3.1Z"
        place = f"translate({number(left)} {number(top)})"
        add(drawn.svg, "path", one.title, style=f"mark {one.style}", d=star, transform=place)
    else:
        add(drawn.svg, "circle", one.title, style=f"mark {one.style}", cx=left, cy=top, r=one.size)


def _names(drawn: Frame, points: Sequence[Point]) -> None:
    """Writes the names where they cover neither each other nor a point; a name without a place is left to the title."""
    left_end, right_end, top_end, bottom_end = drawn.x.start, drawn.x.end + 12, drawn.y.end - 6, drawn.y.start
    taken = [(drawn.x(p.x) - 8, drawn.y(p.y) - 8, drawn.x(p.x) + 8, drawn.y(p.y) + 8) for p in points]
    for one in reversed(points):
        left, top, width = drawn.x(one.x), drawn.y(one.y), CHARACTER * len(one.label)
        choices = (
            ("start", left + 12, top + 5, left + 12),
            ("end", left - 12, top + 5, left - 12 - width),
            ("middle", left, top - 14, left - width / 2),
            ("middle", left, top + 24, left - width / 2),
            ("start", left + 12, top - 12, left + 12),
            ("start", left + 12, top + 22, left + 12),
            ("end", left - 12, top - 12, left - 12 - width),
            ("end", left - 12, top + 22, left - 12 - width),
        )
        for anchor, x, y, begin in choices:
            box = (begin, y - LINE + 4, begin + width, y + 4)
            inside = left_end <= box[0] and box[2] <= right_end and top_end <= box[1] and box[3] <= bottom_end
            if inside and not any(_overlap(box, other) for other in taken):
                add(drawn.svg, "text", text=one.label, style="name halo", x=x, y=y, text_anchor=anchor)
                taken.append(box)
                break


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

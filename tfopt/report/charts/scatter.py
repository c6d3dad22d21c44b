"""Points in two dimensions, such as accuracy against bytes, with steps between them and limits."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfopt.report.charts.axes import Axis, Frame, frame
from tfopt.report.charts.chart import STAR, WIDTH, Chart, Key, add, finite, listed, number, path_of

# Height of a label's line, and width of its characters, in units of a chart.
LINE, CHARACTER = 17.0, 7.6
# The left, top, right and bottom of what is written.
Box = tuple[float, float, float, float]


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
        span_y: The least range of the vertical axis, so that small differences are not drawn as large ones.
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
    span_y: float = 0.0
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
            (drawn.vertical if limit.axis == "x" else drawn.horizontal)(limit.at)
        for way in self.stairs:
            turns = [(before, (at[0], before[1])) for before, at in itertools.pairwise(way)]
            corners = [corner for turn in turns for corner in turn]
            _way(drawn, [*corners, *way[-1:]], "line front")
        for way in self.steps:
            _way(drawn, way, "line step")
        for one in shown:
            _point(drawn, one)
        taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in ((drawn.x(one.x), drawn.y(one.y)) for one in shown)]
        _names(drawn, [one for one in shown if one.label], taken)
        for limit in self.limits:
            _limit_name(drawn, limit, taken)
        return drawn.svg

    def _upright(self, values: list[float]) -> Axis:
        """The vertical axis: at least as long as it has to be, and within its ends where its room would go beyond."""
        values = [value for value in values if finite(value)]
        if not values or self.log_y:
            return Axis(self.y_title, values, self.log_y)
        low, high = min(values), max(values)
        missing = self.span_y - (high - low)
        lowest, highest = self.ends_y
        if missing > 0:
            high = min(high + missing / 2, max(highest, high))
            low = max(high - self.span_y, min(lowest, low))
        room = (high - low) / 10 or abs(high) / 10 or 1.0
        ends = [end for end in self.ends_y if math.isfinite(end) and low - room < end < high + room]
        return Axis(self.y_title, [low, high], include=ends)

    def description(self) -> str:
        """What each point says, those on top first, and the limits."""
        limits = [limit.text for limit in self.limits]
        return listed([*limits, *(one.title for one in reversed(self.points))])


def _way(drawn: Frame, places: Sequence[tuple[float, float]], style: str) -> None:
    if len(places) > 1:
        add(drawn.svg, "polyline", style=style, points=path_of([(drawn.x(x), drawn.y(y)) for x, y in places]))


def _point(drawn: Frame, one: Point) -> None:
    left, top = drawn.x(one.x), drawn.y(one.y)
    if "chosen" in one.style.split():
        place = f"translate({number(left)} {number(top)})"
        add(drawn.svg, "path", one.title, style=f"mark {one.style}", d=STAR, transform=place)
    else:
        add(drawn.svg, "circle", one.title, style=f"mark {one.style}", cx=left, cy=top, r=one.size)


def _limit_name(drawn: Frame, limit: Limit, taken: list[Box]) -> None:
    """Writes the name of a limit beside its line where it covers nothing, else on the right, and takes its place."""
    width = CHARACTER * len(limit.text)
    if limit.axis == "y":
        if not drawn.y.holds(limit.at):
            return
        line, right, left = drawn.y(limit.at), drawn.x.end - 2, drawn.x.start + 6
        middle = (left + right) / 2
        choices = [("end", right, line - 5), ("middle", middle, line - 5), ("start", left, line - 5)]
        choices += [(anchor, x, line + 14) for anchor, x, _ in choices if line + 18 < drawn.y.start]
    else:
        if not drawn.x.holds(limit.at):
            return
        line, top = drawn.x(limit.at), drawn.y.end + 8
        sides = [("start", line + 5), ("end", line - 5)]
        sides = sides[::-1] if line > (drawn.x.start + drawn.x.end) / 2 else sides
        choices = [(anchor, x, y) for y in (top, drawn.y.start - 8) for anchor, x in sides]
    shift = {"start": 0.0, "middle": width / 2, "end": width}
    boxes = [(x - shift[anchor], y - LINE + 4, x - shift[anchor] + width, y + 4) for anchor, x, y in choices]
    free = [not any(_overlap(box, other) for other in taken) for box in boxes]
    best = free.index(True) if True in free else 0
    anchor, x, y = choices[best]
    add(drawn.svg, "text", text=limit.text, style="note halo", x=x, y=y, text_anchor=anchor)
    taken.append(boxes[best])


def _names(drawn: Frame, points: Sequence[Point], taken: list[Box]) -> None:
    """Writes the names where they cover neither each other nor a point; a name without a place is left to the title."""
    left_end, right_end, top_end, bottom_end = drawn.x.start, drawn.x.end + 12, drawn.y.end - 6, drawn.y.start
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


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

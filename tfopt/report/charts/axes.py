"""Scales from values to places, with round ticks, and the frame of a chart with two axes."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tfopt.report.charts.chart import add, canvas, finite

# Width of a character of a tick's text in units of a chart, on a narrow screen, where texts are larger.
CHARACTER = 9.5


@dataclass(frozen=True)
class Scale:
    """A scale: values to places.

    Args:
        low: The value at `start`.
        high: The value at `end`.
        start: Place of the lowest value.
        end: Place of the highest value.
        log: Whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values within the scale, about so many."""
        return _log_ticks(self.low, self.high, about) if self.log else _linear_ticks(self.low, self.high, about)

    def holds(self, value: float) -> bool:
        """Whether a value is within the scale."""
        return self.low <= value <= self.high


def scale_of(
    values: Iterable[float | None],
    start: float,
    end: float,
    log: bool = False,
    margin: float = 0.06,
    include: Sequence[float] = (),
) -> Scale:
    """The scale of given values.

    Args:
        values: The values; those that are not finite are left out.
        start: Place of the lowest value.
        end: Place of the highest value.
        log: Whether equal ratios are equally far apart; values that are not positive are left out.
        margin: Room on both sides, as a fraction of the range.
        include: Values that the scale has to reach without room beyond them, such as 0.
    """
    kept = [float(v) for v in values if v is not None and finite(v) and (v > 0 or not log)]
    kept = [*kept, *include] or [1.0]
    low, high = min(kept), max(kept)
    if low == high:  # one value: it stands in the middle
        low, high = (low / 2, high * 2) if log else (low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1))
        return Scale(low, high, start, end, log)
    ends = (math.log(low), math.log(high)) if log else (low, high)
    room = (ends[1] - ends[0]) * margin
    wide = (ends[0] - room, ends[1] + room)
    below, above = (math.exp(wide[0]), math.exp(wide[1])) if log else wide
    return Scale(low if low in include else below, high if high in include else above, start, end, log)


def _linear_ticks(low: float, high: float, about: int) -> list[float]:
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, about: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [factor * 10.0**decade for decade in decades for factor in factors]
        found = [value for value in found if low * 0.9999 <= value <= high * 1.0001]
        if len(found) >= min(3, about):
            break
    if len(found) < 2:
        return _linear_ticks(low, high, about)
    every = math.ceil(len(found) / (about + 1))
    return found[::every]


def short(value: float) -> str:
    """A tick's value in few characters: 0.05, 12 k, 3 M, 1e-05."""
    if value and (abs(value) < 1e-4 or abs(value) >= 1e10):
        return f"{value:.0e}" if float(f"{value:.0e}") == value else f"{value:.3g}"
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= unit:
            return f"{value / (1e3 if word == ' k' else unit):.4g}{word}"
    return f"{value:.6g}"


def tick_names(values: Sequence[float]) -> list[str]:
    """The texts of an axis's ticks, plain decimals with as many places as the finest of them."""
    names = [short(value) for value in values]
    if any(not name.lstrip("-").replace(".", "").isdigit() for name in names):
        return names
    places = max((len(name.partition(".")[2]) for name in names), default=0)
    even = len(values) > 2 and len({round(b - a, 9) for a, b in itertools.pairwise(values)}) == 1
    return [f"{value:.{places}f}" for value in values] if even else names


@dataclass(frozen=True)
class Frame:
    """The frame of a chart: its picture, its two scales, and the area between them."""

    svg: ET.Element
    x: Scale
    y: Scale

    def vertical(self, at: float, text: str = "", style: str = "limit", line: int = 0) -> None:
        """A line at a value of x, with its name, if it has one, in a line of text counted from the top."""
        if self.x.holds(at):
            place = self.x(at)
            add(self.svg, "line", text, style=style, x1=place, x2=place, y1=self.y.start, y2=self.y.end)
            if not text:
                return
            left = place > (self.x.start + self.x.end) / 2
            anchor, shift = ("end", -5) if left else ("start", 5)
            add(
                self.svg,
                "text",
                text=text,
                style="note halo",
                x=place + shift,
                y=self.y.end - 5 + 17 * line,
                text_anchor=anchor,
            )

    def horizontal(self, at: float, text: str = "", style: str = "limit") -> None:
        """A line at a value of y, with its name if it has one."""
        if self.y.holds(at):
            place = self.y(at)
            add(self.svg, "line", text, style=style, x1=self.x.start, x2=self.x.end, y1=place, y2=place)
            if text:
                add(self.svg, "text", text=text, style="note halo", x=self.x.end - 2, y=place - 5, text_anchor="end")


@dataclass(frozen=True)
class Axis:
    """What one axis shows.

    Args:
        title: What the values are, with their unit.
        values: The values that it has to reach; None for those that are missing.
        log: Whether it is logarithmic.
        include: Values that it ends at, such as 0.
        whole: Whether only whole numbers are marked, such as epochs.
    """

    title: str
    values: Sequence[float | None]
    log: bool = False
    include: Sequence[float] = ()
    whole: bool = False

    def ticks(self, scale: Scale, about: int) -> list[float]:
        """The marked values of its scale."""
        found = scale.ticks(about)
        return [value for value in found if value == int(value)] if self.whole else found


def frame(x: Axis, y: Axis, width: float, height: float, share: str = "") -> Frame:
    """The frame of a chart with two axes: the lines at the ticks of y, both axes' texts, the name of y on top.

    Args:
        x: The horizontal axis.
        y: The vertical axis.
        width: Width of the picture.
        height: Height of the picture.
        share: Name of a share that has an axis of its own on the right, from 0 to 1; empty for none.
    """
    svg = canvas(width, height)
    bottom, top, right = height - 46, 26.0, width - (34 if share else 14)
    if share:
        add(svg, "text", text=share, style="axis", x=width, y=12, text_anchor="end")
        for part in (0.0, 0.5, 1.0):
            place = bottom + (top - bottom) * part
            add(svg, "text", text=f"{part:g}", style="tick", x=right + 6, y=place + 4)
    upright = scale_of(y.values, bottom, top, y.log, include=y.include)
    marked = y.ticks(upright, 5)
    names = list(zip(marked, tick_names(marked), strict=True))
    left = 14 + CHARACTER * max((len(name) for _, name in names), default=1)
    level = scale_of(x.values, left, right, x.log, margin=0.03, include=x.include)
    add(svg, "text", text=y.title, style="axis", x=2, y=12)
    for value, name in names:
        place = upright(value)
        add(svg, "line", style="grid", x1=left, x2=right, y1=place, y2=place)
        add(svg, "text", text=name, style="tick", x=left - 6, y=place + 4, text_anchor="end")
    add(svg, "line", style="base", x1=left, x2=right, y1=bottom, y2=bottom)
    free = 0.0
    marked = x.ticks(level, 6)
    for value, name in zip(marked, tick_names(marked), strict=True):
        place, half = level(value), CHARACTER * len(name) / 2
        add(svg, "line", style="base", x1=place, x2=place, y1=bottom, y2=bottom + 4)
        middle = min(place, width - half)
        if middle - half >= free:
            add(svg, "text", text=name, style="tick", x=middle, y=bottom + 18, text_anchor="middle")
            free = middle + half + 6
    add(svg, "text", text=x.title, style="axis", x=(left + right) / 2, y=height - 6, text_anchor="middle")
    return Frame(svg, level, upright)

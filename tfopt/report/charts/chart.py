"""The base class of charts, and the SVG elements that they are drawn with."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from tfopt.plain_text import printable

# Number of colours in the page's style sheet; lines beyond them are dashed.
COLOURS = 8
WIDTH = 520.0
# Marks of a chart that its description tells of.
TOLD = 16
# The mark of what is chosen, around the origin.
STAR = "M0-9 2.6-3.1 9-2.6 4.2 1.8 5.6 8 0 4.8-5.6 8-4.2 1.8-9-2.6-2.6-3.1Z"
# Scale below which the texts of a wide chart cannot be read.
READABLE = 0.85


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Args:
        name: Its name.
        style: The classes of its marks.
        line: Whether its marks are on a line.
    """

    name: str
    style: str
    line: bool = True


class Chart(ABC):
    """A chart: SVG for a page whose style sheet has its colours, a name, and a legend.

    Attributes:
        label: What a person who does not see the chart is told.
        wide: Whether the chart keeps its width on a narrow screen, where it is then scrolled.
    """

    label: str
    wide: bool = False

    @abstractmethod
    def draw(self) -> ET.Element:
        """The picture, an `svg` element."""

    def legend(self) -> Sequence[Key]:
        """The entries of the legend; none where the chart explains itself."""
        return ()

    def description(self) -> str:
        """What its marks say, for those who do not see it; empty where a table beside it says the same."""
        return ""

    def svg(self) -> str:
        """The picture as text."""
        drawn = self.draw()
        if said := self.description():
            described = ET.Element("desc")
            described.text = printable(said)
            drawn.insert(0, described)
        drawn.set("role", "img")
        drawn.set("aria-label", self.label)
        if self.wide:
            drawn.set("style", f"min-width: {float(drawn.get('viewBox', '0 0 0').split()[2]) * READABLE:.0f}px")
        return ET.tostring(drawn, encoding="unicode")


def canvas(width: float, height: float) -> ET.Element:
    """An empty picture."""
    return ET.Element("svg", {"viewBox": f"0 0 {number(width)} {number(height)}", "class": "chart"})


def add(
    parent: ET.Element, tag: str, title: str = "", style: str = "", text: str = "", **where: float | str
) -> ET.Element:
    """Adds an element.

    Args:
        parent: What it is added to.
        tag: Its tag, such as `circle`.
        title: What is shown while the pointer is over it.
        style: Its classes in the style sheet.
        text: Its text.
        where: Its other attributes, with `_` for `-`.
    """
    attributes = {name.replace("_", "-"): _value(value) for name, value in where.items()}
    made = ET.SubElement(parent, tag, {"class": style, **attributes} if style else attributes)
    if title:
        child = ET.SubElement(made, "title")
        child.text, child.tail = printable(title), printable(text) or None
    elif text:
        made.text = printable(text)
    return made


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """The `points` of a `polyline`."""
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)


def listed(said: Sequence[str]) -> str:
    """The first of what marks say, and how many more there are."""
    rest = f"; {len(said) - TOLD} more" if len(said) > TOLD else ""
    return "; ".join(said[:TOLD]) + rest


def series_style(index: int) -> str:
    """The classes of the marks of a series: one of the colours, and dashes beyond them."""
    return f"s{index % COLOURS}" + (f" d{index // COLOURS % 3}" if index >= COLOURS else "")


def number(value: float) -> str:
    """A coordinate to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def finite(value: float | None) -> bool:
    """Whether a value can be drawn."""
    return value is not None and math.isfinite(value)


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else number(value)

"""Blocks: what a section of a report consists of, written once and rendered both as Markdown and as HTML.

A text is a string, a `Code`, `Strong`, `Link` or `Remark`, or a tuple of those. It holds no markup of its own: both
renderings escape it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from tfopt.report.charts.chart import Chart


class Code(str):
    """A text in fixed width, such as a layer's path."""


class Strong(str):
    """A text that stands out."""


class Link(str):
    """A text that leads to a file beside the report."""

    href: str

    def __new__(cls, text: str, href: str) -> Link:
        """A link with its text."""
        made = super().__new__(cls, text)
        made.href = href
        return made


class Remark(str):
    """A remark on the text before it: below it on the page, in brackets in `report.md`."""


Text = str | tuple[str, ...]


# Width of a character of a table, of the space between its columns, and the characters that a cell wraps at.
CHARACTER, PADDING, WRAPPED = 7.2, 22.0, 60


def characters(given: Text) -> int:
    """Number of characters of the longest line of a text."""
    if not isinstance(given, tuple):
        return len(given)
    return max(
        sum(len(part) for part in given if not isinstance(part, Remark)),
        *(len(part) for part in given if isinstance(part, Remark)),
        0,
    )


@dataclass(frozen=True)
class Block:
    """A part of a section; the name of its class says how the page's template renders it."""

    kind: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__.lower()


@dataclass(frozen=True)
class Heading(Block):
    """A heading within a section; one that is the section's own title is not repeated on the page."""

    text: str


@dataclass(frozen=True)
class Paragraph(Block):
    """A paragraph."""

    text: Text


@dataclass(frozen=True)
class Bullets(Block):
    """A list of points."""

    items: Sequence[Text]


@dataclass(frozen=True)
class Callout(Block):
    """A sentence that must not be missed.

    Args:
        tone: `failure` or `warning`.
        text: The sentence.
        points: What follows from it, such as what to do next.
    """

    tone: Literal["failure", "warning"]
    text: Text
    points: Sequence[Text] = ()


@dataclass(frozen=True)
class Table(Block):
    """A table.

    Args:
        headers: The head of each column.
        rows: A text for each column.
        left: Number of columns aligned to the left; the others hold numbers.
        caption: What the table shows, for the page.
        most: Number of rows on the page; what is left out is said below it.
        rest: Where the rows that are left out can be found.
        label: What it is called by those who do not see what stands above it, where it has no caption.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[Text]]
    left: int = 1
    caption: str = ""
    most: int = 200
    rest: str = "report.json has all"
    label: str = ""

    @property
    def width(self) -> float:
        """About how wide it is at its normal size, in pixels, where no text is folded."""
        columns = zip(self.headers, *self.rows[: self.most], strict=True)
        return sum(min(max(map(characters, column)), WRAPPED) * CHARACTER + PADDING for column in columns)


@dataclass(frozen=True)
class Fact:
    """One figure that counts.

    Args:
        name: What it is of.
        value: The figure with its unit.
        note: What it is to be compared with.
    """

    name: str
    value: str
    note: Text = ""


@dataclass(frozen=True)
class Facts(Block):
    """The few figures that count, in large type."""

    items: Sequence[Fact]


@dataclass(frozen=True)
class Listing(Block):
    """A text as it is, such as a recipe.

    Args:
        text: The lines.
        language: Its language, such as `yaml`.
    """

    text: str
    language: str = ""


@dataclass(frozen=True)
class Figure(Block):
    """A chart with its caption, on the page only.

    Args:
        chart: The chart.
        caption: One or two sentences on what can be seen.
        table: The chart's figures, folded below it.
    """

    chart: Chart
    caption: str = ""
    table: Table | None = None


@dataclass(frozen=True)
class View:
    """One input of a sample to look at.

    Args:
        name: Its name; empty where a sample has one input.
        png: The picture; None for what is shown as text.
        text: The input as text, or what the picture shows, for those who do not see it.
    """

    name: str = ""
    png: bytes | None = None
    text: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """A sample to look at.

    Args:
        title: What counts of it.
        caption: What else is to be known of it, a line each.
        views: Its inputs.
    """

    title: str
    caption: Sequence[str]
    views: Sequence[View]

    @property
    def texts(self) -> bool:
        """Whether an input is shown as text, which needs more room."""
        return any(view.png is None for view in self.views)


@dataclass(frozen=True)
class Gallery(Block):
    """Samples side by side, on the page only."""

    items: Sequence[Thumbnail]


@dataclass(frozen=True)
class Grid(Block):
    """Blocks side by side where there is room."""

    blocks: Sequence[Block]


@dataclass(frozen=True)
class Group(Block):
    """Blocks that stay together, such as one cell of a grid."""

    blocks: Sequence[Block]


@dataclass(frozen=True)
class Folded(Block):
    """Blocks that the page shows when asked for.

    Args:
        summary: What they are about.
        blocks: The blocks.
    """

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class OnPage(Block):
    """Blocks for the page only."""

    blocks: Sequence[Block]


@dataclass(frozen=True)
class InMarkdown(Block):
    """Blocks for `report.md` only."""

    blocks: Sequence[Block]

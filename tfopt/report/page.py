"""Pages of one self-contained file: title, lead, table of contents, and sections of blocks.

The style sheet is in the page, charts are SVG in it, and it has no script: it asks for nothing, prints as it is, and
reads the same from a disk, a mail or an archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tfopt.report.blocks import Block, Code, Heading, Link, Strong, Text

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


@dataclass(frozen=True)
class Part:
    """A section of a page.

    Args:
        anchor: Its anchor.
        title: Its title, also in the table of contents.
        blocks: Its blocks.
    """

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page.

    Args:
        title: Its title.
        lead: What it comes to, a sentence.
        intro: Blocks above the first section.
        parts: Its sections.
        kicker: A word above the title, on what kind of page it is.
        foot: A line below everything.
        verdict: A word on how it went, in front of the title that a browser's tab has.
    """

    title: str
    lead: Text = ""
    intro: Sequence[Block] = ()
    parts: Sequence[Part] = ()
    kicker: str = ""
    foot: Text = ""
    verdict: str = ""

    def html(self) -> str:
        """The page as text."""
        return _template().render(page=self)


@cache
def _template() -> Template:
    """The template with its filters; Jinja2 is imported when the first page is written."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tfopt.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": _inline, "svg": _svg, "picture": _picture, "below": _below}
    return environment.get_template("page.html")


def _inline(given: Text) -> Markup:
    """A text as HTML."""
    from markupsafe import Markup, escape

    if isinstance(given, tuple):
        return Markup("").join(map(_inline, given))
    match given:
        case Code():
            return Markup("<code>{}</code>").format(str(given))
        case Strong():
            return Markup("<strong>{}</strong>").format(str(given))
        case Link():
            return Markup('<a href="{}">{}</a>').format(given.href, str(given))
    return escape(given)


def _svg(chart: Any) -> Markup:
    from markupsafe import Markup

    return Markup(chart.svg())


def _picture(png: bytes) -> str:
    """A picture as the address of an image that is in the page itself."""
    import base64

    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _below(blocks: Sequence[Block], title: str) -> list[Block]:
    """The blocks without headings that repeat the title above them."""
    return [block for block in blocks if not (isinstance(block, Heading) and block.text == title)]

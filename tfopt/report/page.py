"""Pages of one self-contained file: title, lead, table of contents, and sections of blocks.

The style sheet is in the page, charts are SVG in it, and it has no script: it asks for nothing, prints as it is, and
reads the same from a disk, a mail or an archive.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tfopt.report.blocks import Block, Code, Heading, Link, Remark, Strong, Text
from tfopt.report.charts.chart import STAR, Key

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
        top: Blocks below the lead, above the contents: what must not be missed.
    """

    title: str
    lead: Text = ""
    intro: Sequence[Block] = ()
    parts: Sequence[Part] = ()
    kicker: str = ""
    foot: Text = ""
    verdict: str = ""
    top: Sequence[Block] = ()

    def html(self) -> str:
        """The page as text."""
        return _template().render(page=self, anchor=_Anchors([part.anchor for part in self.parts]))


class _Anchors:
    """Gives each heading an anchor of its own.

    Args:
        taken: Anchors of the sections.
    """

    def __init__(self, taken: Sequence[str]):
        self._taken = {"content", *taken, *(f"{name}-title" for name in taken)}

    def __call__(self, text: str) -> str:
        """The anchor of a heading."""
        own = re.sub(r"\W+", "-", text.lower()).strip("-") or "part"
        numbered = (f"{own}-{number}" for number in itertools.count(2))
        anchor = next(one for one in itertools.chain([own], numbered) if one not in self._taken)
        self._taken.add(anchor)
        return anchor


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
    environment.filters |= {"inline": _inline, "svg": _svg, "picture": _picture, "below": _below, "symbol": _symbol}
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
        case Remark():
            return Markup('<span class="remark">{}</span>').format(str(given)) if given else Markup("")
        case Link():
            return Markup('<a href="{}">{}</a>').format(given.href, str(given))
    return escape(given)


def _svg(chart: Any) -> Markup:
    from markupsafe import Markup

    return Markup(chart.svg())


def _symbol(key: Key) -> Markup:
    """The mark of an entry of a legend, as it is in the picture."""
    from markupsafe import Markup

    if "chosen" in key.style.split() and not key.line:
        mark = Markup('<path class="mark {}" transform="translate(9 5.5) scale(.62)" d="{}"/>')
        return mark.format(key.style, STAR)
    return Markup('<circle class="dot {}" cx="9" cy="5" r="{}"/>').format(key.style, "3.4" if key.line else "4.2")


def _picture(png: bytes) -> str:
    """A picture as the address of an image that is in the page itself."""
    import base64

    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _below(blocks: Sequence[Block], title: str) -> list[Block]:
    """The blocks without headings that repeat the title above them."""
    return [block for block in blocks if not (isinstance(block, Heading) and block.text == title)]

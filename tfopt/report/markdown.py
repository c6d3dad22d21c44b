"""Blocks as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfopt.markdown_text import code_block, code_span, escaped
from tfopt.report.blocks import (
    Block,
    Bullets,
    Callout,
    Code,
    Facts,
    Folded,
    Grid,
    Group,
    Heading,
    InMarkdown,
    Link,
    Listing,
    Paragraph,
    Remark,
    Strong,
    Table,
    Text,
)

# Signs that would end the address of a link.
_IN_LINK = str.maketrans({sign: f"%{ord(sign):02X}" for sign in " ()<>\n"})
TONES = {"failure": "FAIL", "warning": "WARNING"}


def lines(blocks: Iterable[Block]) -> list[str]:
    """The lines of blocks, with an empty one before each; what only a page can show has none."""
    found: list[str] = []
    for block in blocks:
        if isinstance(block, Grid | Group | Folded | InMarkdown):
            found += lines(block.blocks)
        elif written := _lines(block):
            found += ["", *written]
    return found


def _lines(block: Block) -> list[str]:
    match block:
        case Heading():
            return [f"## {text(block.text)}"]
        case Paragraph():
            return [text(block.text)]
        case Bullets():
            return [f"- {text(item)}" for item in block.items]
        case Facts():
            notes = [f" ({text(fact.note)})" if fact.note else "" for fact in block.items]
            facts = [f"- {text(fact.name)}: {text(fact.value)}" for fact in block.items]
            return [f"{fact}{note}" for fact, note in zip(facts, notes, strict=True)]
        case Callout():
            points = [f"- {text(point)}" for point in block.points]
            return [f"**{TONES[block.tone]}** {text(block.text)}", *(["", *points] if points else [])]
        case Table():
            return table(block.headers, block.rows, block.left)
        case Listing():
            return code_block(block.text, block.language)
    return []


def table(headers: Sequence[str], rows: Iterable[Sequence[Text]], left: int = 1) -> list[str]:
    """The lines of a table.

    Args:
        headers: A header for each column.
        rows: A cell for each column.
        left: Number of columns aligned to the left; the others hold numbers.
    """
    marks = ["---"] * left + ["---:"] * (len(headers) - left)
    cells = ([text(cell).replace("|", "\\|") for cell in row] for row in (headers, *rows))
    head, *body = (f"| {' | '.join(row)} |" for row in cells)
    return [head, f"|{'|'.join(marks)}|", *body]


def text(given: Text) -> str:
    """A text as Markdown, in one line."""
    if isinstance(given, tuple):
        return "".join(map(text, given))
    match given:
        case Code():
            return code_span(given)
        case Strong():
            return f"**{escaped(given)}**"
        case Remark():
            return f" ({escaped(given)})" if given else ""
        case Link():
            return f"[{escaped(given)}]({given.href.translate(_IN_LINK)})"
    return escaped(given)

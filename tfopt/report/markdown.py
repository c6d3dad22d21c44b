"""Blocks as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
            return [f"- {fact.name}: {fact.value}{note}" for fact, note in zip(block.items, notes, strict=True)]
        case Callout():
            points = [f"- {text(point)}" for point in block.points]
            return [f"**{TONES[block.tone]}** {text(block.text)}", *(["", *points] if points else [])]
        case Table():
            return table(block.headers, block.rows, block.left)
        case Listing():
            return [f"```{block.language}", *block.text.rstrip("\n").split("\n"), "```"]
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
    plain = " ".join(given.splitlines())
    match given:
        case Code():
            fence = "``" if "`" in plain else "`"
            return f"{fence}{plain}{fence}"
        case Strong():
            return f"**{_escaped(plain)}**"
        case Remark():
            return f" ({_escaped(plain)})" if plain else ""
        case Link():
            return f"[{_escaped(plain)}]({given.href})"
    return _escaped(plain)


def _escaped(plain: str) -> str:
    """Words that are no HTML."""
    return plain.replace("<", "\\<")

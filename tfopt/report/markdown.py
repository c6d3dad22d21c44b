"""Tables and headings of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def headed(title: str, *lines: str) -> list[str]:
    """Lines below a heading, with an empty line before and after it."""
    return ["", f"## {title}", "", *lines]


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """The lines of a table.

    Args:
        headers: A header for each column.
        rows: A cell for each column.
        left: Number of columns aligned to the left; the others hold numbers.
    """
    marks = ["---"] * left + ["---:"] * (len(headers) - left)
    return [f"| {' | '.join(headers)} |", f"|{'|'.join(marks)}|", *(f"| {' | '.join(row)} |" for row in rows)]

"""A page of Markdown, and its parts: headings, tables, escaped text."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_CODE = re.compile(r"(`+[^`]+`+)")
_SPECIAL = re.compile(r"([*_<>\[\]\\|])")


@dataclass(frozen=True)
class Page:
    """A page of the site.

    Args:
        path: Where it lies, relative to the folder of documents, such as `reference/stages/prune.md`.
        title: Its title in the nav.
        text: Its Markdown, with the heading.
    """

    path: str
    title: str
    text: str


def plain(text: str) -> str:
    """Text of a docstring as Markdown: what is in backquotes stays, special characters elsewhere are escaped."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if index % 2 else _SPECIAL.sub(r"\\\1", part) for index, part in enumerate(parts))


def cell(text: str) -> str:
    """Markdown in a cell of a table, on one line, its bars escaped."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; empty where there are no rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(headers)} |", "|---" * len(headers) + "|", *lines]) if lines else ""


def joined(*parts: str) -> str:
    """The text of a page: its parts with an empty line in between, those that are empty left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def relative(target: str, page: str) -> str:
    """The link from one page to another, both relative to the folder of documents."""
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def nav_of(pages: Iterable[Page], folder: str) -> list[Any]:
    """The part of the nav for the pages in a folder: `index.md` first, a folder in it by the title of its index."""
    entries: dict[str, Any] = {}
    for page in pages:
        if not page.path.startswith(folder):
            continue
        inside, _, deeper = page.path.removeprefix(folder).partition("/")
        if not deeper:
            entries[page.path] = page.path if inside == "index.md" else {page.title: page.path}
        elif deeper == "index.md":
            entries[inside] = {page.title: nav_of(pages, f"{folder}{inside}/")}
    return list(entries.values())

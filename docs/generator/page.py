"""A page of Markdown, and its parts: tables, text of docstrings, links, its place in the nav."""

from __future__ import annotations

import inspect
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_CODE = re.compile(r"(`+[^`]+`+)")
_SPECIAL = re.compile(r"([*<>\[\]\\|]|(?<!\w)_|_(?!\w))")
_REFERENCES = "References:\n"


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
    """One paragraph of a docstring as Markdown: what is in backquotes stays, special characters are escaped."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if index % 2 else _SPECIAL.sub(r"\\\1", part) for index, part in enumerate(parts))


def docstring(text: str | None) -> str:
    """A docstring as Markdown: its paragraphs, indented blocks as code, and the references as a list.

    Args:
        text: The docstring as it is written, without sections other than `References`.
    """
    body, _, references = inspect.cleandoc(text or "").partition(_REFERENCES)
    blocks = [block if _is_code(block) else plain(block) for block in re.split(r"\n{2,}", body.strip("\n"))]
    listed = [f"- {plain(one)}" for one in re.split(r"(?<=\.)\n(?=\s+\S)", references.strip("\n")) if one.strip()]
    return joined(*blocks, "**References**" if listed else "", "\n".join(listed)).rstrip()


def _is_code(block: str) -> bool:
    return block.startswith(("    ", "```"))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; empty where there are no rows."""
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(headers)} |", "|---" * len(headers) + "|", *lines]) if lines else ""


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def joined(*parts: str) -> str:
    """The text of a page: its parts with an empty line in between, those that are empty left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def link(text: str, target: str, page: str) -> str:
    """A link from one page to another, both relative to the folder of documents."""
    path, _, anchor = target.partition("#")
    there = "" if path == page else posixpath.relpath(path, posixpath.dirname(page) or ".")
    return f"[{text}]({there}{'#' if anchor else ''}{anchor})"


def nav_of(pages: Iterable[Page], folder: str) -> list[Any]:
    """The part of the nav for the pages in a folder: `index.md` first, a folder in it by the title of its index."""
    pages = list(pages)
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

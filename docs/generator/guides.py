"""Links back: the hand-written pages that link to a page that is made."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from .page import Page, joined, link, plain

_LINK = re.compile(r"\]\(([^)#\s]+\.md)(?:#[^)\s]*)?\)")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def with_guides(pages: Iterable[Page], docs: Path) -> Iterator[Page]:
    """The pages, each with links to the hand-written pages that link to it, below its first paragraph.

    Args:
        pages: The pages that are made.
        docs: The folder of the hand-written ones.
    """
    found: dict[str, list[str]] = {}
    titles = {}
    for file in sorted(docs.rglob("*.md")):
        path, text = file.relative_to(docs).as_posix(), file.read_text()
        titles[path] = title[1] if (title := _TITLE.search(text)) else path
        for target in dict.fromkeys(_LINK.findall(text)):
            found.setdefault(posixpath.normpath(posixpath.join(posixpath.dirname(path), target)), []).append(path)
    for page in pages:
        links = [link(plain(titles[path]), path, page.path) for path in found.get(page.path, ())]
        heading, first, *rest = page.text.split("\n\n", 2)
        yield replace(page, text=joined(heading, first, f"Read more: {', '.join(links)}.", *rest)) if links else page

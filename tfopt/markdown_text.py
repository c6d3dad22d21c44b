"""Texts in Markdown: what is no markup of ours is none, whatever a layer, a class, a file or a metric is called.

References:
    https://github.github.com/gfm/#backslash-escapes
"""

from __future__ import annotations

import re

from tfopt.plain_text import one_line

# What begins markup anywhere in a line: HTML, entities, links and pictures, code, emphasis, escapes.
_MARKUP = re.compile(r"[\\`*\[<&]")
# What begins a heading, a quotation or a list where a line begins.
_AT_START = re.compile(r"^([#>+-])(?=[\s#>])")


def escaped(text: str) -> str:
    """A text as it is, in one line."""
    return _AT_START.sub(r"\\\1", _MARKUP.sub(r"\\\g<0>", one_line(text)))


def code_span(text: str) -> str:
    """A text in fixed width, between more backticks than it has in a row."""
    plain = one_line(text)
    fence = "`" * (_longest_run(plain) + 1)
    space = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{space}{plain}{space}{fence}"


def code_block(text: str, language: str = "") -> list[str]:
    """The lines of a text as it is, between longer fences than it has."""
    fence = "`" * max(_longest_run(text) + 1, 3)
    return [f"{fence}{language}", *text.rstrip("\n").split("\n"), fence]


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)

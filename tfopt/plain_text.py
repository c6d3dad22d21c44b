"""Texts of others, such as names in files, without the characters that a terminal or an editor obeys."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text without control characters; line breaks stay."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def one_line(text: str) -> str:
    """A text without line breaks and control characters."""
    return printable(" ".join(text.splitlines()))

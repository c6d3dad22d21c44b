"""Text that others can take: names in files without what a terminal or an editor obeys, and plain data as JSON."""

from __future__ import annotations

import json
from typing import Any


def printable(text: str) -> str:
    """A text without control characters; line breaks stay."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def one_line(text: str) -> str:
    """A text without line breaks and control characters."""
    return printable(" ".join(text.splitlines()))


def plain_json(record: Any) -> str:
    """Plain data as JSON, with null for numbers that it does not have: infinite ones and NaN."""
    plain = json.loads(json.dumps(record, default=str), parse_constant=lambda _: None)
    return json.dumps(plain, indent=2) + "\n"

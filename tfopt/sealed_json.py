"""JSON objects with a sha256 of themselves in them, by which a record that was damaged is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tfopt.errors import InputError

DIGEST = "sha256"


def seal(record: Mapping[str, Any], indent: int | None = None) -> str:
    """The text of a record with its digest.

    Args:
        record: Plain data; what JSON does not have is written as a float, as NumPy's numbers can be.
        indent: Spaces to indent by; one line if not given.

    Raises:
        InputError: The record has a field of the digest's name.
    """
    if DIGEST in record:
        raise InputError(
            f"{DIGEST} is the digest of the record itself. Call the field otherwise. Received: {record[DIGEST]!r}."
        )
    plain = json.loads(json.dumps(dict(record), default=float))
    return json.dumps({**plain, DIGEST: _digest(plain)}, indent=indent)


def unseal(text: str | bytes) -> dict[str, Any] | None:
    """The record in a text that `seal` gave; None of any other text, and of one that was changed since."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.pop(DIGEST, None) != _digest(record):
        return None
    return record


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

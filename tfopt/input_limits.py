"""Limits of what is read from outside: a file that is broken or hostile is refused before it costs time or memory."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from tfopt.errors import InputError, Location

# Levels of JSON: a model in a model takes about five.
MOST_LEVELS = 100
MOST_JSON_BYTES = 2**26
MOST_MEMBERS = 10_000
# Archives that claim more than so many times their own size are refused above a number of bytes that the caller knows.
MOST_EXPANSION = 100
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_KIND_OF_FILE, _LINK = 0o170000, 0o120000


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text, of bounded size and depth, so that all who walk it can do so recursively.

    Raises:
        ValueError: It is no JSON, too long, or nested too deeply; the message says which.
    """
    if len(text) > MOST_JSON_BYTES:
        raise ValueError(f"its JSON has {len(text):,} bytes, more than {MOST_JSON_BYTES:,}")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"its JSON is nested more than {MOST_LEVELS} levels deep") from None
    level = [value]
    for _ in range(MOST_LEVELS):
        inner = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        if not inner:
            return value
        level = [each for part in inner for each in part]
    raise ValueError(f"its JSON is nested more than {MOST_LEVELS} levels deep")


def refuse_device(path: Path, holds: str, error: type[InputError], field: Location = ()) -> None:
    """Refuses a device or a pipe in the place of a file, which may have no end; lets pass what is not there.

    Args:
        path: The file, or a folder.
        holds: What it has to hold, such as `the model`.
        error: Class of the error.
        field: Location of the cause in the recipe.

    Raises:
        InputError: It is one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise error(f"{path} is no file, but a device or a pipe. Name the file of {holds}.", field)


def check_members(archive: zipfile.ZipFile, size: int, floor: int) -> None:
    """Checks what an archive claims of its members, before any of them is read.

    Args:
        archive: The archive.
        size: Bytes of its file.
        floor: Bytes of all members up to which they may be compressed by any factor.

    Raises:
        ValueError: There are too many members, or one is encrypted, twice there, compressed in a way that is not
            known, outside of the archive or a link, or they claim too many bytes; the message says which.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise ValueError(f"it has {len(members):,} members, more than {MOST_MEMBERS:,}")
    seen: set[str] = set()
    for member in members:
        if why := _fault(member, seen):
            raise ValueError(f"{member.filename[:80]!r} in it {why}")
        seen.add(member.filename)
    claimed = sum(member.file_size for member in members)
    if claimed > floor and claimed > MOST_EXPANSION * size:
        raise ValueError(f"its members claim {claimed:,} B, and the file has {size:,} B")


def _fault(member: zipfile.ZipInfo, seen: set[str]) -> str:
    """Why a member is not read; empty where it is."""
    path = PurePosixPath(member.filename)
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _COMPRESSIONS:
        return f"is compressed by method {member.compress_type}, and stored and deflated members are read"
    if member.filename in seen:
        return "is there twice"
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
        return "has a name that leads out of the archive"
    return "is a link" if member.external_attr >> 16 & _KIND_OF_FILE == _LINK else ""

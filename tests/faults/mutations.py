"""Files with something wrong in them, made from whole ones by a seeded generator."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

# Four bytes that readers of binary files take for a size, an offset or a count.
NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x00FFFFFF, 0xFFFFFFF0)
# Values in the place of another in JSON.
VALUES = (
    None,
    True,
    -1,
    0,
    1.5,
    "",
    "x",
    [],
    {},
    [None],
    {"class_name": 3},
    [[[]]],
    {"config": None},
    "\x00",
    ["a"] * 50,
)


def bent(content: bytes, generator: random.Random) -> bytes:
    """Bytes with some of them cut off, flipped, zeroed, doubled or overwritten by the extremes of numbers."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(changed))
        how, size = generator.randrange(6), generator.randint(1, 64)
        if how == 0:
            changed[at] ^= 1 << generator.randrange(8)
        elif how == 1:
            changed[at : at + size] = bytes(len(changed[at : at + size]))
        elif how == 2:
            changed[at:at] = changed[at : at + size]
        elif how == 3:
            del changed[at : at + size]
        elif how == 4:
            at -= at % 4
            changed[at : at + 4] = generator.choice(NUMBERS).to_bytes(4, "little")
        elif len(changed) > 8:
            del changed[generator.randrange(len(changed) // 2) + 4 :]
        changed = changed or bytearray(1)
    return bytes(changed)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*place, key))


def bent_json(document: Any, generator: random.Random) -> Any:
    """A document with a value of another kind in the place of one, or without it."""
    places = list(_places(document))
    for _ in range(generator.randint(1, 2)):
        changed = copy.deepcopy(document)
        *path, last = generator.choice(places[1:])
        holder = changed
        for key in path:
            holder = holder[key]
        if generator.random() < 0.25:
            del holder[last]
        else:
            holder[last] = generator.choice(VALUES)
        document, places = changed, list(_places(changed))
        if len(places) < 2:
            break
    return document


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def bent_archive(content: bytes, generator: random.Random) -> bytes:
    """A zip archive with a member that is bent, missing or has another name, or whose own directory is bent."""
    members = list(_members(content).items())
    at, how = generator.randrange(len(members)), generator.randrange(6)
    name, inner = members[at]
    if how == 0:
        return bent(content, generator)
    if how == 1:
        del members[at]
    elif how == 2:
        members[at] = (generator.choice(["../../out", "/out", "a" * 300, name.upper()]), inner)
    elif how == 3 or not name.endswith(".json"):
        members[at] = (name, bent(inner, generator))
    else:
        members[at] = (name, json.dumps(bent_json(json.loads(inner), generator)).encode())
    return _packed(members)


def bent_record(content: bytes, generator: random.Random) -> bytes:
    """A JSON file with a value of another kind in it, or bent as bytes."""
    if generator.random() < 0.2:
        return bent(content, generator)
    return json.dumps(bent_json(json.loads(content), generator)).encode()


Bend = Callable[[bytes, random.Random], bytes]

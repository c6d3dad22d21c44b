"""Damage to one file among the results of a run: what a disk, a copy that was cut short, or a person may do."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tfopt.recipe.artifact import LOCK


def truncated(path: Path, folder: Path) -> None:
    """Half of it is gone."""
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path, folder: Path) -> None:
    """All of it is gone."""
    path.write_bytes(b"")


def flipped(path: Path, folder: Path) -> None:
    """Three of its bits are others."""
    content = bytearray(path.read_bytes() or b"\0")
    generator = random.Random(str(path.relative_to(folder)))
    for _ in range(3):
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def lengthened(path: Path, folder: Path) -> None:
    """Something stands behind it."""
    with path.open("ab") as file:
        file.write(b"\0" * 100)


def zeroed(path: Path, folder: Path) -> None:
    """It is as long, and of zeros."""
    path.write_bytes(bytes(path.stat().st_size))


def replaced(path: Path, folder: Path) -> None:
    """A file of another kind is in its place."""
    others = [other for other in sorted(folder.glob("*/*")) if other.is_file() and other.suffix != path.suffix]
    shutil.copy(others[0], path)


def swapped(path: Path, folder: Path) -> None:
    """The file of another stage, of the same kind; without one there is a text."""
    others = [other for other in sorted(folder.glob(f"*/*{path.suffix}")) if other != path and other.is_file()]
    path.write_bytes(others[0].read_bytes() if others else b"swapped")


def removed(path: Path, folder: Path) -> None:
    """It is not there."""
    path.unlink()


def a_folder(path: Path, folder: Path) -> None:
    """A folder is in its place."""
    path.unlink()
    path.mkdir()


def a_loop(path: Path, folder: Path) -> None:
    """A link to itself is in its place."""
    path.unlink()
    path.symlink_to(path)


def cases(folder: Path) -> list[tuple[Path, Callable[[Path, Path], None]]]:
    """Each file of a run's folder, by its path in it, with each damage.

    A folder in the place of a report is not removed, as somebody may have put it there.
    """
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LOCK]
    return [(f, damage) for f in files for damage in DAMAGES if damage is not a_folder or len(f.parts) > 1]


DAMAGES = [truncated, emptied, flipped, lengthened, zeroed, replaced, swapped, removed, a_folder, a_loop]

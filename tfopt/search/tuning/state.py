"""The state of a tuner in its files, from which an interrupted search goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfopt.durable_files import remove, rename, set_aside, write
from tfopt.sealed_json import seal, unseal


def put(state: Any, file: str) -> None:
    """Writes a state as JSON with a digest, which keras-tuner passes over: one cut short would end the search."""
    write(Path(file), seal(state))


def states(folder: Path) -> list[Path]:
    """The files with the state of a tuner and of its trials."""
    return [*folder.glob("*.json"), *folder.glob("trial_*/trial.json")]


def is_whole(state: Path) -> bool:
    """Whether a file is as `put` wrote it.

    Raises:
        OSError: It cannot be read, which says nothing of its content.
    """
    try:
        return unseal(state.read_bytes()) is not None
    except (FileNotFoundError, IsADirectoryError):
        return False


@contextlib.contextmanager
def moved_aside(folder: Path) -> Iterator[Path]:
    """Moves a state aside for one that the block begins, to which it gives the new place; back where the block fails.

    Raises:
        OSError: It cannot be moved.
    """
    aside = set_aside(folder)
    try:
        yield aside
    except BaseException:
        with contextlib.suppress(OSError):
            remove(folder)
            rename(aside, folder)
        raise


def tries(begun: Path) -> int:
    """How often a trial was begun and did not end; 0 where that cannot be read."""
    try:
        return int(begun.read_text())
    except (OSError, ValueError):
        return 0

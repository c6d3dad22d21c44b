"""The state of a tuner in its files, from which an interrupted search goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfopt.durable_files import write
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


def tries(begun: Path) -> int:
    """How often a trial was begun and did not end; 0 where that cannot be read."""
    try:
        return int(begun.read_text())
    except (OSError, ValueError):
        return 0

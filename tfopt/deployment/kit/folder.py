"""Writing the folder of a kit: all of it or nothing, and over nothing that somebody else has put there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tfopt.deployment.kit.contents import PLAIN, RECORD, SUMS
from tfopt.durable_files import remove, rename, runs_elsewhere, storage_errors, sync_tree
from tfopt.errors import InputError, StorageError
from tfopt.input_limits import parse_json

_WAY = "Name another folder."
# A kit is made beside its folder, in one whose name has this between the folder's and the number of the process; an
# older kit is moved into it.
_MADE, _OLD = ".kit-", "old"


def check_folder(folder: Path) -> None:
    """Checks that a kit can be written to a folder: a new one, an empty one, or that of a kit as it was written.

    Raises:
        InputError: It is a file, or a folder with something else in it.
        StorageError: It cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"a kit is a folder, and there is a file of that name. {_WAY} Received: {folder}.")
    if folder.is_dir() and any(folder.iterdir()) and (other := _not_of_a_kit(folder)):
        raise InputError(f"a kit is written to a new folder or over a kit, and {other}. {_WAY} Received: {folder}.")
    parent = next(one for one in folder.parents if one.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise StorageError(f"{folder} cannot be written: {parent} is no folder that can be. {_WAY}")


def check_same(folder: Path, name: str, content: bytes | None = None) -> None:
    """Checks that the kit in a folder, where one is, is an older one of the same model.

    Args:
        folder: The folder, which `check_folder` has passed.
        name: Name of the model.
        content: The `.tflite`, where the name alone does not tell the model, as that of a file does not.

    Raises:
        InputError: It is the kit of another model.
    """
    try:
        there = parse_json((folder / RECORD).read_bytes()).get("name")
        sums = (folder / SUMS).read_text().splitlines()
    except FileNotFoundError:
        return
    if there != name:
        other = f"of {there!r}"
    elif content is not None and f"{hashlib.sha256(content).hexdigest()}  {PLAIN}" not in sums:
        other = "of another file of that name"
    else:
        return
    way = f"{_WAY[:-1]}, or write over it with --force (force=True in Python)."
    raise InputError(f"{folder} holds the kit {other}, and this one is of {name!r}. {way}")


def mend(folder: Path) -> None:
    """Removes what processes that were killed while they wrote the kit of a folder have left beside it.

    A kit that was there before, and that such a process had moved aside and not replaced, is put back.

    Raises:
        StorageError: It cannot be written there.
    """
    folder = folder.resolve()
    if not folder.parent.is_dir():
        return
    made_by = re.compile(re.escape(_beside(folder)) + r"(\d+)-")
    with storage_errors(folder, _WAY):
        for left in sorted(folder.parent.iterdir()):
            process = made_by.match(left.name)
            if not process or runs_elsewhere(int(process[1])) or left.is_symlink() or not left.is_dir():
                continue
            if (left / _OLD).is_dir() and not folder.exists():
                rename(left / _OLD, folder)
            remove(left)


def _beside(folder: Path) -> str:
    """How the name of a folder begins that a kit is made in, before the number of the process."""
    return f".{folder.name}{_MADE}"


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files of a kit, in place of an older kit.

    Args:
        folder: The folder.
        files: Bytes by path.

    Raises:
        InputError: The folder holds something else.
        StorageError: It cannot be written.
    """
    check_folder(folder)
    folder = folder.resolve()
    with storage_errors(folder, _WAY):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{_beside(folder)}{os.getpid()}-", dir=folder.parent) as beside:
            made, old = Path(beside, "new"), Path(beside, _OLD)
            for path, content in files.items():
                made.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
                made.joinpath(path).write_bytes(content)
            sync_tree(made)
            if folder.exists():
                rename(folder, old)
            try:
                rename(made, folder)
            except BaseException:
                if old.exists():
                    rename(old, folder)
                raise
            shutil.rmtree(old, ignore_errors=True)


def _not_of_a_kit(folder: Path) -> str:
    """What in a folder keeps it from being a kit as it was written; empty where it is one."""
    try:
        record = parse_json((folder / RECORD).read_bytes())
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, ValueError):
        return "this one has other files in it"
    if not isinstance(record, dict) or "kit" not in record:
        return "this one has other files in it"
    sums = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or name == SUMS or name in sums):
            return f"{name} was added to this one"
        if path.is_file() and name != SUMS and hashlib.sha256(path.read_bytes()).hexdigest() != sums[name]:
            return f"{name} of this one was changed"
    return ""

"""The moments at which a process changes what is in a folder: counted, acted on, and recorded.

They are seen from inside of Python (`sys.addaudithook`, and `os.fsync`, which has no event of its own). A hook
cannot be taken away again: it is for processes that are there for one run, or is switched off.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events of Python that change what lies in a folder, with the place of the path that is changed and of its folder's
# descriptor among their arguments.
CHANGES = {
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
}


class Points:
    """Calls `act(what, paths)` before each change below some folders, in the thread that is about to make it.

    Other threads that are about to change something wait until it returns.

    Args:
        folders: The folders.
        act: Called with the name of the change and the paths that it is of, within the folders or not.
    """

    def __init__(self, folders: list[Path], act: Callable[[str, list[str]], None]):
        self._folders = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in folders)
        self._act, self._fsync = act, os.fsync
        self._over, self._one, self._own = False, threading.RLock(), threading.local()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Acts on the changes of the block."""
        sys.addaudithook(self._hook)
        os.fsync = self._synced
        try:
            yield
        finally:
            self._over, os.fsync = True, self._fsync

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._over or (event != "open" and event not in CHANGES):
            return
        with self._alone() as alone:
            if not alone:
                return
            if event == "open":
                path, _, flags = arguments
                paths = [_absolute(path, None)] if (flags or 0) & WRITING and not isinstance(path, int) else []
            else:
                paths = [_absolute(arguments[at], _get(arguments, folder)) for at, folder in CHANGES[event]]
            if any(f"{path}{os.sep}".startswith(self._folders) for path in paths):
                self._act(event.removeprefix("os."), paths)

    def _synced(self, descriptor: int) -> None:
        with self._alone() as alone:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if alone and path.startswith(self._folders):
                self._act("fsync", [path])
        self._fsync(descriptor)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keeps other threads out; false within itself, where what is done is no change of the run."""
        if getattr(self._own, "acts", False):
            yield False
            return
        with self._one:
            self._own.acts = True
            try:
                yield True
            finally:
                self._own.acts = False


def _get(arguments: tuple[Any, ...], place: int | None) -> int | None:
    folder = arguments[place] if place is not None and place < len(arguments) else None
    return folder if isinstance(folder, int) and folder >= 0 else None


def _absolute(path: Any, folder: int | None) -> str:
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    name = os.fsdecode(path)
    if folder is not None and not os.path.isabs(name):
        name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
    return os.path.abspath(name)


class Recording:
    """Copies of a folder as it is at each of its points, which is what a process that is killed there leaves behind.

    Points that leave the same are one image. Beside each image lies what was written and not yet synced to the disk: a
    power cut is thought to take the content of these files. It is not thought to undo a rename, or a new or a removed
    name, whose folder was not synced, so that a forgotten sync of a folder is not found here.

    Args:
        folder: The folder, of which nothing but this process writes.
        images: Folder for the images, by number; `points.jsonl` in it has a line for each point.
    """

    def __init__(self, folder: Path, images: Path):
        self._folder, self._images = folder, images
        self._last: Any = None
        self._image, self._count = -1, 0
        self._unsynced: set[str] = set()
        images.mkdir(parents=True)

    def __call__(self, what: str, paths: list[str]) -> None:
        """Takes the image of a point."""
        now = sorted(_states(self._folder))
        if now != self._last:
            self._last, self._image = now, self._image + 1
            if self._folder.exists():
                shutil.copytree(self._folder, self._images / str(self._image), symlinks=True)
        lost = sorted(os.path.relpath(path, self._folder) for path in self._unsynced if os.path.isfile(path))
        line = {
            "point": self._count,
            "what": what,
            "path": os.path.relpath(paths[0], self._folder),
            "image": self._image,
            "unsynced": [path for path in lost if not path.startswith("..")],
        }
        with (self._images / "points.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._count += 1
        self._follow(what, paths)

    def _follow(self, what: str, paths: list[str]) -> None:
        if what == "open":
            self._unsynced.add(paths[0])
        elif what == "fsync":
            self._unsynced.discard(paths[0])
        elif what == "rename":
            old, new = paths
            moved = {path for path in self._unsynced if f"{path}{os.sep}".startswith(f"{old}{os.sep}")}
            kept = {path for path in self._unsynced - moved if not f"{path}{os.sep}".startswith(f"{new}{os.sep}")}
            self._unsynced = kept | {new + path[len(old) :] for path in moved}


def _states(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            with contextlib.suppress(FileNotFoundError):
                state = os.lstat(path)
                size = -1 if name in folders else state.st_size
                yield os.path.relpath(path, folder), size, state.st_ino, 0 if name in folders else state.st_mtime_ns

"""Faults that a process is given before its run begins."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.faults.points import Points, Recording

# The error of `failing_calls.c` that ends the process instead.
KILL = -1
# From there on all calls fail, as on a disk that is full.
FOR_GOOD = 10**9


class Fault(Protocol):
    """Something that goes wrong in a process; it is sent to it, so it holds plain values."""

    def armed(self) -> AbstractContextManager[None]:
        """Goes wrong within the block."""


@dataclass(frozen=True)
class KilledAtPoint:
    """The process is killed right before a change below some folders, counted from 0.

    Args:
        folders: The folders.
        point: The change.
    """

    folders: tuple[Path, ...]
    point: int

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Goes wrong within the block."""
        left = self.point

        def act(what: str, paths: list[str]) -> None:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        with Points(list(self.folders), act).watched():
            yield


@dataclass(frozen=True)
class Recorded:
    """No fault: an image of a folder is taken at each of its points.

    Args:
        folder: The folder.
        images: Folder for the images.
    """

    folder: Path
    images: Path

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Goes wrong within the block."""
        with Points([self.folder], Recording(self.folder, self.images)).watched():
            yield


@dataclass(frozen=True)
class FailingCalls:
    """Calls of the C library below a folder fail; the process has to be linked with the library of `failing_calls.c`.

    Args:
        library: That library.
        folder: The folder.
        first: The first call that fails, counted from 1; with 0 they are only counted.
        error: Its `errno`, or `KILL`.
        calls: How many calls fail.
        counted: Gets the number of calls, where the process comes to its end.
    """

    library: Path
    folder: Path
    first: int
    error: int = 0
    calls: int = FOR_GOOD
    counted: Path | None = None

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Goes wrong within the block."""
        library = ctypes.CDLL(str(self.library))
        library.fail_calls.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int]
        library.calls_seen.restype = ctypes.c_long
        library.fail_calls(os.fsencode(os.path.realpath(self.folder)), self.first, self.calls, self.error)
        try:
            yield
        finally:
            library.stop_failing()
            if self.counted:
                self.counted.write_text(str(library.calls_seen()))

    def befell(self, code: int) -> bool:
        """Whether a call has failed, as `counted` tells it; of a process that wrote none its end does.

        Args:
            code: The exit code of the process, negative where a signal ended it.
        """
        if self.counted is None or not self.counted.exists():
            return code < 0
        return 0 < self.first <= int(self.counted.read_text())


@dataclass(frozen=True)
class Limited:
    """A limit of the operating system.

    Args:
        limit: Its number, such as `resource.RLIMIT_NOFILE`.
        value: Its value; for `RLIMIT_AS` the bytes beyond those that the process has by then.
    """

    limit: int
    value: int

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Goes wrong within the block."""
        value = self.value
        if self.limit == resource.RLIMIT_AS:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            value += pages * resource.getpagesize()
        _, hard = resource.getrlimit(self.limit)
        resource.setrlimit(self.limit, (value, hard))
        yield


@dataclass(frozen=True)
class ClockSet:
    """The clock is set once it was looked at so often: forwards, or, with negative seconds, back.

    Args:
        after: Looks at the right time.
        seconds: How far it is set from then on; None for the year 1970, as where there is no battery.
    """

    after: int
    seconds: float | None

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Goes wrong within the block."""
        real, real_ns, real_localtime, looks = time.time, time.time_ns, time.localtime, 0

        def now() -> float:
            nonlocal looks
            looks += 1
            moved = real() if self.seconds is not None else 0.0
            return moved + (self.seconds or 0.0) if looks > self.after else real()

        time.time, time.time_ns = now, lambda: int(now() * 1e9)
        time.localtime = lambda seconds=None: real_localtime(now() if seconds is None else seconds)
        try:
            yield
        finally:
            time.time, time.time_ns, time.localtime = real, real_ns, real_localtime


@dataclass(frozen=True)
class TemporaryFolder:
    """The folder for temporary files is that one, whatever the process found when it began.

    Args:
        folder: The folder.
    """

    folder: Path

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Goes wrong within the block."""
        tempfile.tempdir = str(self.folder)
        yield


@dataclass(frozen=True)
class ChildFails:
    """The children of the process that run some module are killed, or get little memory.

    Args:
        module: The module.
        seconds: How long they run before they are killed.
        memory: Bytes of memory that they get instead of being killed; 0 for all.
    """

    module: str
    seconds: float = 0.0
    memory: int = 0

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Goes wrong within the block."""
        fault, real = self, subprocess.Popen

        class Popen(real):
            def __init__(self, arguments, *rest, **options):
                super().__init__(arguments, *rest, **options)
                if fault.module not in arguments:
                    return
                if fault.memory:
                    resource.prlimit(self.pid, resource.RLIMIT_AS, (fault.memory, fault.memory))
                else:
                    timer = threading.Timer(fault.seconds, self.kill)
                    timer.daemon = True
                    timer.start()

        subprocess.Popen = Popen
        try:
            yield
        finally:
            subprocess.Popen = real

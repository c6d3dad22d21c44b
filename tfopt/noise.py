"""Keeping what libraries print, down to the C++ that writes to the file descriptors, for the day something fails."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO

_around: ContextVar[Captured | None] = ContextVar("_around", default=None)


class Captured:
    """What was printed in a captured block."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._start = file.seek(0, os.SEEK_END)
        self._text: str | None = None

    def text(self) -> str:
        """Everything printed so far."""
        if self._text is not None:
            return self._text
        _flush()
        with open(self._file.name, "rb") as again:
            again.seek(self._start)
            return again.read().decode(errors="replace")

    def close(self) -> None:
        """Keeps the text beyond the file, and hands it on to the block around this one."""
        self._text = self.text()
        if (outer := _around.get()) is not None:
            outer._file.write(self._text.encode())
            outer._file.flush()


@contextlib.contextmanager
def captured(log: Path | None = None) -> Iterator[Captured]:
    """Sends everything written to file descriptors 1 and 2 in the block to a file.

    Args:
        log: The file to append to; a temporary one if not given.
    """
    with contextlib.ExitStack() as stack:
        path = log or stack.enter_context(tempfile.NamedTemporaryFile(prefix="tfopt-")).name
        file = stack.enter_context(open(path, "ab"))
        kept = Captured(file)
        _flush()
        saved = {fd: os.dup(fd) for fd in (1, 2)}
        token = _around.set(kept)
        try:
            for fd in saved:
                os.dup2(file.fileno(), fd)
            # Python's own streams may have been replaced, in a notebook or a test, and then not lead to a descriptor.
            with (
                open(file.name, "a", buffering=1, errors="replace") as text,
                contextlib.redirect_stdout(text),
                contextlib.redirect_stderr(text),
            ):
                yield kept
        finally:
            _flush()
            for fd, copy in saved.items():
                os.dup2(copy, fd)
                os.close(copy)
            _around.reset(token)
            kept.close()


def terminal() -> IO[str]:
    """A stream to where standard output goes now, which a later `captured` does not reach.

    A stdout that Python replaced (a notebook's, a test's) is out of its reach anyway and is returned as it is.
    """
    try:
        fd = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return sys.stdout
    return os.fdopen(os.dup(fd), "w", encoding=sys.stdout.encoding, errors="replace") if fd == 1 else sys.stdout


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()

"""Capturing what libraries print, down to the C++ that writes to the file descriptors, for the case of a failure."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from tfopt.errors import StorageError

# How often a followed log is looked at.
POLL_SECONDS = 0.2
_one_at_a_time = threading.RLock()  # the descriptors are the process's
_around: ContextVar[Captured | None] = ContextVar("_around", default=None)


class Captured:
    """The output of a captured block."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._start = file.seek(0, os.SEEK_END)
        self._text: str | None = None

    def text(self) -> str:
        """Everything printed so far."""
        if self._text is not None:
            return self._text
        _flush()
        try:
            with open(self._file.name, "rb") as again:
                again.seek(self._start)
                return again.read().decode(errors="replace")
        except FileNotFoundError:  # removed meanwhile, with the folder that it was in
            return ""

    def close(self) -> None:
        """Keeps the text after the file is gone, and writes it to the file of the enclosing block."""
        self._text = self.text()
        if (outer := _around.get()) is not None:
            outer.append(self._text)

    def append(self, text: str) -> None:
        """Adds what was printed in a block inside of this one, as far as there is room for it."""
        with contextlib.suppress(OSError):
            self._file.write(text.encode())
            self._file.flush()


@contextlib.contextmanager
def captured(log: Path | None = None) -> Iterator[Captured]:
    """Sends everything written to file descriptors 1 and 2 in the block to a file.

    Args:
        log: The file to append to; a temporary one if not given.

    Raises:
        StorageError: The folder of the log is gone.
    """
    if log is not None and not log.parent.is_dir():
        raise StorageError(f"{log.parent} is gone: it was removed while it was in use. Run the same again.")
    with _one_at_a_time, contextlib.ExitStack() as stack:
        path = log or stack.enter_context(tempfile.NamedTemporaryFile(prefix="tfopt-")).name
        file = stack.enter_context(open(path, "ab", buffering=0))  # what is left in a buffer would fail at its close
        kept = Captured(file)
        _flush()
        saved = {fd: os.dup(fd) for fd in (1, 2)}
        token = _around.set(kept)
        try:
            for fd in saved:
                os.dup2(file.fileno(), fd)
            with _streams():
                yield kept
        finally:
            _flush()
            for fd, copy in saved.items():
                os.dup2(copy, fd)
                os.close(copy)
            _around.reset(token)
            kept.close()


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Redirects Python's streams to the descriptors where they were replaced, in a notebook or a test.

    They are not closed after the block: a logging handler that was made in it may keep one, and then writes to the
    descriptor as it is by then.
    """
    with contextlib.ExitStack() as stack:
        for fd, stream, redirect in (
            (1, sys.stdout, contextlib.redirect_stdout),
            (2, sys.stderr, contextlib.redirect_stderr),
        ):
            if _descriptor(stream) != fd:
                lasting = open(fd, "w", buffering=1, errors="replace", closefd=False)  # noqa: SIM115
                stack.enter_context(redirect(lasting))
        yield


def _descriptor(stream: Any) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


@contextlib.contextmanager
def followed(log: Path, show: Callable[[str], None]) -> Iterator[None]:
    """Shows each line that is appended to a log in the block, from a thread of its own; what is there already is not.

    Args:
        log: The file, which may be made, or taken away and made anew, within the block.
        show: Called with each line, without its end.
    """
    ended = threading.Event()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(log.open(errors="replace")) if log.exists() else None
        if file:
            file.seek(0, os.SEEK_END)
        reading = threading.Thread(target=_follow, args=(log, file, show, ended), daemon=True)
        reading.start()
        try:
            yield
        finally:
            ended.set()
            reading.join()


def _follow(log: Path, file: IO[str] | None, show: Callable[[str], None], ended: threading.Event) -> None:
    with contextlib.ExitStack() as stack:
        rest, last = "", False
        while not last:
            last = ended.wait(POLL_SECONDS)
            text = rest + (file.read() if file else "")
            if (file is None or not os.fstat(file.fileno()).st_nlink) and log.exists():  # it was made anew
                file = stack.enter_context(log.open(errors="replace"))
                text += ("\n" if text and not text.endswith("\n") else "") + file.read()
            *lines, rest = text.split("\n")
            for line in lines:
                show(line)
        if rest:
            show(rest)


def terminal(descriptor: int = 1) -> IO[str]:
    """A stream to where standard output goes now, or the error stream, which a later `captured` does not reach.

    A stream that Python replaced (a notebook's, a test's) is out of its reach anyway and is returned as it is.

    Args:
        descriptor: 1 for standard output, 2 for the error stream.
    """
    stream = sys.stdout if descriptor == 1 else sys.stderr
    if _descriptor(stream) != descriptor:
        return stream
    return os.fdopen(os.dup(descriptor), "w", encoding=stream.encoding, errors="replace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()

"""Standard output and the error stream of the command, whose reader may go away and whose disk may be full."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import IO, Any, cast

# What could not be written to standard output while `lasting_streams` holds, by anything that writes there.
_faults: ContextVar[list[OSError] | None] = ContextVar("_faults", default=None)


class LastingStream:
    """A text stream that drops what cannot be written, so that a long run goes on; the first fault is kept.

    A reader that stopped reading, such as `head`, has what it wanted: that is no fault.

    Args:
        stream: The stream to write to.
        faults: Receives the error of a disk that is full, or None where nobody could be told.
    """

    def __init__(self, stream: IO[str], faults: list[OSError] | None):
        self._stream, self._faults, self._ended = stream, faults, False

    def write(self, text: str) -> int:
        """Writes as long as it is possible."""
        with self._until_it_fails():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes as long as it is possible."""
        with self._until_it_fails():
            self._stream.flush()

    @contextlib.contextmanager
    def _until_it_fails(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._ended and self._faults is not None and not isinstance(error, BrokenPipeError):
                self._faults.append(error)
            self._ended = True
            # What is left in the buffer is written once more when Python exits, and has to go somewhere.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lasting(stream: IO[str], error: bool = False) -> IO[str]:
    """The stream as one that drops what cannot be written; the caller of `lasting_streams` is told of it.

    Args:
        stream: A stream to where standard output or the error stream goes.
        error: Whether it is the error stream, whose faults nobody could read of.
    """
    return cast("IO[str]", LastingStream(stream, None if error else _faults.get()))


@contextlib.contextmanager
def lasting_streams() -> Iterator[list[OSError]]:
    """Makes Python's two streams lasting in the block; yields the list of what went wrong on standard output."""
    faults: list[OSError] = []
    token = _faults.set(faults)
    with contextlib.ExitStack() as stack:
        stack.callback(_faults.reset, token)
        nowhere = stack.enter_context(open(os.devnull, "w"))  # Python has no stream where the descriptor is closed
        out, err = lasting(sys.stdout or nowhere), lasting(sys.stderr or nowhere, error=True)
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.callback(err.flush)
        stack.callback(out.flush)
        yield faults

"""Ctrl-C and SIGTERM, which a cluster, a container and `kill` send: both end a command cleanly, to be gone on with."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from tfopt.subprocesses import reported_by_parent

# The exit code of what a signal ended is this and its number: 130 and 143.
BY_SIGNAL = 128
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
# The commands that go on from what an interrupted one has left.
GOING_ON = ("run", "search", "demo")


@contextlib.contextmanager
def interrupting_signals() -> Iterator[list[int]]:
    """Makes SIGTERM a `KeyboardInterrupt` in the block, as Ctrl-C is; yields the numbers of the signals that came.

    The first is answered at once, as it may take seconds until everything has ended. SIGTERM interrupts once: where it
    comes after another, everything is being ended already. One that is ignored stays so.
    """
    received: list[int] = []
    errors = _error_stream()

    def interrupt(number: int, _: FrameType | None) -> None:
        first = not received
        received.append(number)
        if first:
            _answer(errors)
        if first or number == signal.SIGINT:
            raise KeyboardInterrupt

    taken = {}
    if threading.current_thread() is threading.main_thread():  # no other may take them
        for number in _WORDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                taken[number] = signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, before in taken.items():
            signal.signal(number, before)
        if errors is not None:
            os.close(errors)


def _error_stream() -> int | None:
    """A copy of the error stream's descriptor, which `captured` does not redirect; None where it is closed."""
    try:
        return os.dup(2)
    except OSError:
        return None


def _answer(errors: int | None) -> None:
    """Says that the command is being ended, without Python's streams: the signal may have come while they write."""
    if errors is not None and not reported_by_parent():
        line = b"\nstopping...\n" if os.isatty(errors) else b"stopping...\n"  # on a terminal a bar may stand there
        with contextlib.suppress(OSError):
            os.write(errors, line)


def report_interruption(received: list[int]) -> int:
    """Says in a line that the command was ended and how it goes on, if it can; returns its exit code."""
    number = signal.Signals(received[0]) if received else signal.SIGINT
    if not reported_by_parent():
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        way = ": run the same command to go on" if command in GOING_ON else ""
        sys.stderr.write(f"{_WORDS[number]}{way}\n")
    if os.environ.get("TF_CONFIG"):  # libraries of a cluster would wait for it when Python exits
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(BY_SIGNAL + number)
    return BY_SIGNAL + number

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


@contextlib.contextmanager
def interrupting_signals() -> Iterator[list[int]]:
    """Makes SIGTERM a `KeyboardInterrupt` in the block, as Ctrl-C is; yields the numbers of the signals that came.

    SIGTERM interrupts once: where it comes after another, everything is being ended already. One that is ignored stays
    so.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        first = not received
        received.append(number)
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


def report_interruption(received: list[int]) -> int:
    """Says in a line that the command was ended and how it goes on; returns its exit code."""
    number = signal.Signals(received[0]) if received else signal.SIGINT
    if not reported_by_parent():
        sys.stderr.write(f"{_WORDS[number]}: run the same command to go on\n")
    if os.environ.get("TF_CONFIG"):  # libraries of a cluster would wait for it when Python exits
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(BY_SIGNAL + number)
    return BY_SIGNAL + number

"""Heartbeats between processes: sent every few seconds, and noticed when they stay away.

Clocks of several machines differ, so a heartbeat is a value that changes, and whoever watches times how long it stays.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator

SECONDS = 5.0


@contextlib.contextmanager
def beating(beat: Callable[[int], object]) -> Iterator[None]:
    """Sends a heartbeat at once and every `SECONDS` seconds while the block runs.

    Args:
        beat: Sends one heartbeat, given a rising count; its errors are ignored, as the next heartbeat will do.
    """
    over = threading.Event()

    def beats() -> None:
        count = 0
        while True:
            count += 1
            with contextlib.suppress(Exception):  # a storage may be away for a while
                beat(count)
            if over.wait(SECONDS):
                return

    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Listener:
    """Tells which processes have stopped sending heartbeats.

    Args:
        lost_after: Seconds without a new heartbeat after which a process counts as lost.
    """

    def __init__(self, lost_after: float):
        self.lost_after = lost_after
        self._heard: dict[Hashable, tuple[object, float]] = {}

    def is_lost(self, who: Hashable, sign: object) -> bool:
        """Whether the heartbeat of a process has been the same for too long; the first look starts the clock."""
        now = time.monotonic()
        before = self._heard.get(who)
        if before is None or before[0] != sign:
            self._heard[who] = sign, now
            return False
        return now - before[1] > self.lost_after

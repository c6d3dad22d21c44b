"""Signs of life between processes: given every few seconds, and missed when they stay away.

Clocks of several machines differ, so a sign is a value that changes, and its silence is timed by whoever looks.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator

SECONDS = 5.0


@contextlib.contextmanager
def beating(beat: Callable[[int], object]) -> Iterator[None]:
    """Gives a sign at once and every few seconds while the block runs.

    Args:
        beat: Gives it, with a number that rises; one that fails is left out, as the next will do.
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
    """Hears whether others still give signs.

    Args:
        lost_after: Seconds without a new one after which someone counts as lost.
    """

    def __init__(self, lost_after: float):
        self.lost_after = lost_after
        self._heard: dict[Hashable, tuple[object, float]] = {}

    def is_lost(self, who: Hashable, sign: object) -> bool:
        """Whether the sign of someone has been the same for too long; the first look begins the wait."""
        now = time.monotonic()
        before = self._heard.get(who)
        if before is None or before[0] != sign:
            self._heard[who] = sign, now
            return False
        return now - before[1] > self.lost_after

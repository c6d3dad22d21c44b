"""Evidence of faults and of wrong inputs: a line for each, written before the next one, and the counts by kind."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

# Names the file for the lines; they are appended.
LOG_VARIABLE = "TFOPT_FAULTS_LOG"
# Begins the kinds that are inputs which cannot be right, and no faults of a machine.
WRONG = "wrong "


class Evidence:
    """The faults of a test session.

    Args:
        log: File for the lines, each a JSON object.
    """

    def __init__(self, log: Path):
        self.log, self._lock = log, threading.Lock()
        self.injected, self.survived = Counter[str](), Counter[str]()

    def add(
        self, kind: str, where: str, problems: list[str], points: int = 1, held: int | None = None, **more: Any
    ) -> None:
        """Records a fault that was injected.

        Args:
            kind: Its kind.
            where: Where it was injected.
            problems: What did not hold after it; empty where it was survived.
            points: Number of faults that it stands for, as of points that leave the same behind.
            held: How many of them were survived; all or none if not given.
            **more: What else the line tells.
        """
        line = {"kind": kind, "where": where, "points": points, "problems": problems, **more}
        with self._lock:
            self.injected[kind] += points
            self.survived[kind] += held if held is not None else 0 if problems else points
            with self.log.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                if os.environ.get(LOG_VARIABLE):  # one that is to be kept
                    os.fsync(file.fileno())

    def table(self) -> list[str]:
        """The counts by kind, a line each: those of faults, and those of inputs that were told what is wrong."""
        wrong = [kind for kind in sorted(self.injected) if kind.startswith(WRONG)]
        faults = [kind for kind in sorted(self.injected) if kind not in wrong]
        return [*self._rows("fault", "held", faults), *self._rows("input", "told", wrong)]

    def _rows(self, what: str, good: str, kinds: list[str]) -> list[str]:
        if not kinds:
            return []
        width = max(map(len, [*kinds, what]))
        rows = [(kind, self.injected[kind], self.survived[kind]) for kind in kinds]
        rows.append(("all", sum(count for _, count, _ in rows), sum(count for _, _, count in rows)))
        lines = [f"{kind:{width}}  {tried:5}  {held:5}" for kind, tried, held in rows]
        return [f"{what:{width}}  {'tried':>5}  {good:>5}", *lines]

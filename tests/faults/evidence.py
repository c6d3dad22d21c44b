"""Evidence of faults: a line for each, on the disk before the next one, and the counts by kind."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

# Names the file for the lines; they are appended.
LOG_VARIABLE = "TFOPT_FAULTS_LOG"


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
                os.fsync(file.fileno())

    def table(self) -> list[str]:
        """The counts by kind, a line each."""
        width = max(map(len, [*self.injected, "all"]))
        lines = [f"{kind:{width}}  {count:5}  {self.survived[kind]:5}" for kind, count in sorted(self.injected.items())]
        total = f"{'all':{width}}  {self.injected.total():5}  {self.survived.total():5}"
        return [f"{'fault':{width}}  {'tried':>5}  {'held':>5}", *lines, total]

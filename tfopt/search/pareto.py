"""The files that no other beats, and the one that answers the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tfopt.search.cost_model import Cost
from tfopt.search.space import Candidate

Goal = Literal["accurate", "smallest", "fastest"]
# Runs of the same file differ in their time by this share, and by so many milliseconds.
TIMING, JITTER = 0.05, 0.01


@dataclass(frozen=True)
class Objective:
    """What is searched for.

    Args:
        goal: `accurate`: the best metric; `smallest`: the fewest bytes; `fastest`: the fewest milliseconds.
        size: Which size counts, `raw` or `gzip`.
        raw_bytes: The most bytes that the file may have; None for any.
        gzip_bytes: The same after gzip -9.
        milliseconds: The most that a run may take.
        max_drop: How much worse than the model's the metric may be; None for any.
    """

    goal: Goal
    size: Literal["raw", "gzip"]
    raw_bytes: float | None = None
    gzip_bytes: float | None = None
    milliseconds: float | None = None
    max_drop: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, by name."""
        names = ("raw_bytes", "gzip_bytes", "milliseconds", "max_drop")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def sizes(self) -> list[str]:
        """The sizes that count, `raw` or `gzip`: the one that is wanted small, and those with a limit."""
        limited = [size for size in ("raw", "gzip") if getattr(self, f"{size}_bytes") is not None]
        return list(dict.fromkeys([self.size, *limited]))

    def over(self, cost: Cost, slack: float = 1.0) -> dict[str, float]:
        """By how much a cost is over each limit, as a share of it; 0 and below is within.

        Args:
            cost: The cost.
            slack: What the limit of milliseconds is multiplied by, for times that are only forecast.
        """
        found = {}
        for name, limit in self.limits.items():
            if name != "max_drop":
                found[name] = getattr(cost, name) / (limit * (slack if name == "milliseconds" else 1.0)) - 1
        return found

    def fits(self, cost: Cost, slack: float = 1.0) -> bool:
        """Whether a cost is within all limits."""
        return all(excess <= 0 for excess in self.over(cost, slack).values())


@dataclass(frozen=True)
class Point:
    """One file that was made and measured.

    Args:
        number: Its trial's number.
        candidate: What it is.
        epochs: How long it was trained.
        score: The metric on LiteRT, over the validation split.
        drop: How much worse than the model's own that is.
        cost: Its sizes and its speed.
    """

    number: int
    candidate: Candidate
    epochs: int
    score: float
    drop: float
    cost: Cost

    def bytes(self, size: str) -> float:
        """Its size, `raw` or `gzip`."""
        return self.cost.raw_bytes if size == "raw" else self.cost.gzip_bytes

    def meets(self, objective: Objective) -> bool:
        """Whether it is within all limits."""
        return objective.fits(self.cost) and (objective.max_drop is None or self.drop <= objective.max_drop)


def dominates(one: Point, other: Point, objective: Objective) -> bool:
    """Whether a file is as good as another in all figures that count, and better in one.

    They are the metric, the time, the size that is wanted small, and those that have a limit: so a file within the
    limits is dominated by such alone. Times that differ by less than they do from run to run count as the same, unless
    the wish is about them.
    """
    timing = 0.0 if objective.milliseconds is not None or objective.goal == "fastest" else TIMING
    pairs = [(one.drop, other.drop), *((one.bytes(size), other.bytes(size)) for size in objective.sizes)]
    jitter = JITTER if timing else 0.0
    slower = one.cost.milliseconds * (1 - timing) > other.cost.milliseconds + jitter
    faster = one.cost.milliseconds + jitter < other.cost.milliseconds * (1 - timing)
    if slower or any(a > b for a, b in pairs):
        return False
    return faster or any(a < b for a, b in pairs)


def front(points: Sequence[Point], objective: Objective) -> list[Point]:
    """The files that no other dominates, the smallest first; of equal ones the first made."""
    kept = [p for p in points if not any(dominates(other, p, objective) for other in points)]
    found: list[Point] = []
    for point in sorted(kept, key=lambda p: p.number):
        figures = (point.drop, *(point.bytes(size) for size in objective.sizes))
        alike = [p for p in found if (p.drop, *(p.bytes(size) for size in objective.sizes)) == figures]
        if not alike:  # of equal figures the times are too, or one would dominate the other
            found.append(point)
    return sorted(found, key=lambda p: (p.bytes(objective.size), p.drop))


def ranked(points: Sequence[Point], objective: Objective) -> list[Point]:
    """The files in the order of the wish, the best first: those within all limits, then those nearest to them."""

    def order(point: Point) -> tuple[Any, ...]:
        excess = sum(max(share, 0.0) for share in objective.over(point.cost).values())
        if objective.max_drop is not None:
            excess += max(point.drop - objective.max_drop, 0.0) / max(objective.max_drop, 1e-3)
        goals = {"accurate": point.drop, "smallest": point.bytes(objective.size), "fastest": point.cost.milliseconds}
        return excess, goals[objective.goal], point.drop, point.bytes(objective.size), point.number

    return sorted(points, key=order)

"""The Pareto front of the files of a search, and their ranking by an objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tfopt.search.cost_model import Cost
from tfopt.search.space import Candidate

Goal = Literal["accurate", "smallest", "fastest"]
# Latencies of one file differ from run to run by this fraction, plus this many milliseconds.
TIMING, JITTER = 0.05, 0.01


@dataclass(frozen=True)
class Objective:
    """The goal and the limits of a search.

    Args:
        goal: `accurate`: the best metric; `smallest`: the fewest bytes; `fastest`: the fewest milliseconds.
        size: Which size counts, `raw` or `gzip`.
        raw_bytes: Largest size of the file in bytes; None for no limit.
        gzip_bytes: Largest size after gzip -9 in bytes; None for no limit.
        milliseconds: Largest latency in milliseconds; None for no limit.
        max_drop: How much worse than the model's own the metric may be; None for no limit.
    """

    goal: Goal
    size: Literal["raw", "gzip"]
    raw_bytes: float | None = None
    gzip_bytes: float | None = None
    milliseconds: float | None = None
    max_drop: float | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        names = ("raw_bytes", "gzip_bytes", "milliseconds", "max_drop")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def sizes(self) -> list[str]:
        """The sizes that count, `raw` or `gzip`: `size` first, then those with a limit."""
        limited = [size for size in ("raw", "gzip") if getattr(self, f"{size}_bytes") is not None]
        return list(dict.fromkeys([self.size, *limited]))

    def over(self, cost: Cost, slack: float = 1.0) -> dict[str, float]:
        """The excess of a cost over each limit, as a fraction of the limit; 0 and below is within.

        Args:
            cost: The cost.
            slack: Factor on the limit of milliseconds, for latencies that are only estimated.
        """
        found = {}
        for name, limit in self.limits.items():
            if name != "max_drop":
                found[name] = getattr(cost, name) / (limit * (slack if name == "milliseconds" else 1.0)) - 1
        return found

    def fits(self, cost: Cost, slack: float = 1.0) -> bool:
        """Whether a cost is within all limits of size and latency."""
        return all(excess <= 0 for excess in self.over(cost, slack).values())


@dataclass(frozen=True)
class Point:
    """One file that was made and measured.

    Args:
        number: The number of its trial.
        candidate: The candidate that it was made from.
        epochs: Epochs of training.
        score: The metric on LiteRT, over the validation split.
        drop: How much worse than the original model's the metric is.
        cost: Measured size and latency.
    """

    number: int
    candidate: Candidate
    epochs: int
    score: float
    drop: float
    cost: Cost

    def bytes(self, size: str) -> float:
        """Size of the file in bytes, `raw` or `gzip`."""
        return self.cost.raw_bytes if size == "raw" else self.cost.gzip_bytes

    def meets(self, objective: Objective) -> bool:
        """Whether the file is within all limits."""
        return objective.fits(self.cost) and (objective.max_drop is None or self.drop <= objective.max_drop)


def dominates(one: Point, other: Point, objective: Objective) -> bool:
    """Whether a file is as good as another in all figures that count, and better in one.

    The figures are the metric, the latency, and the sizes that the objective names or limits. Latencies count as equal
    where they differ by no more than the noise of their measurement, the larger of the two spreads; unless the
    objective is about latency, also where they differ by no more than `TIMING` and `JITTER`. A file within the limits
    is only dominated by others within them.
    """
    if other.meets(objective) and not one.meets(objective):
        return False
    timing = 0.0 if objective.milliseconds is not None or objective.goal == "fastest" else TIMING
    pairs = [(one.drop, other.drop), *((one.bytes(size), other.bytes(size)) for size in objective.sizes)]
    noise = max(one.cost.spread, other.cost.spread, JITTER if timing else 0.0)
    slower = one.cost.milliseconds * (1 - timing) > other.cost.milliseconds + noise
    faster = one.cost.milliseconds + noise < other.cost.milliseconds * (1 - timing)
    if slower or any(a > b for a, b in pairs):
        return False
    return faster or any(a < b for a, b in pairs)


def front(points: Sequence[Point], objective: Objective) -> list[Point]:
    """The Pareto front: the files that no other dominates, the smallest first; of equal ones the first made."""
    kept = [p for p in points if not any(dominates(other, p, objective) for other in points)]
    found: list[Point] = []
    for point in sorted(kept, key=lambda p: p.number):
        figures = (point.drop, *(point.bytes(size) for size in objective.sizes))
        alike = [p for p in found if (p.drop, *(p.bytes(size) for size in objective.sizes)) == figures]
        if not alike:  # with equal figures the latencies count as equal too, or one would dominate the other
            found.append(point)
    return sorted(found, key=lambda p: (p.bytes(objective.size), p.drop))


def ranked(points: Sequence[Point], objective: Objective) -> list[Point]:
    """The files by the objective, the best first: those within all limits, then those nearest to them."""

    def order(point: Point) -> tuple[Any, ...]:
        excess = sum(max(share, 0.0) for share in objective.over(point.cost).values())
        if objective.max_drop is not None:
            excess += max(point.drop - objective.max_drop, 0.0) / max(objective.max_drop, 1e-3)
        goals = {"accurate": point.drop, "smallest": point.bytes(objective.size), "fastest": point.cost.milliseconds}
        return excess, goals[objective.goal], point.drop, point.bytes(objective.size), point.number

    return sorted(points, key=order)

"""The Pareto front of the files of a search, and their ranking by an objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tfopt.recipe.target import figure_of
from tfopt.search.cost_model import Cost
from tfopt.search.space import Candidate

Goal = Literal["accurate", "smallest", "fastest"]
# Latencies of one file differ from run to run by this fraction, plus this many milliseconds.
TIMING, JITTER = 0.05, 0.01


@dataclass(frozen=True)
class Objective:
    """The goal and the limits of a search.

    Args:
        goal: `accurate`: the best metric; `smallest`: the fewest bytes; `fastest`: the shortest time.
        size: Which size counts: `raw` or `gzip`, or that of the target, such as `compiled` for `compiled_bytes`.
        raw_bytes: Largest size of the file in bytes; None for no limit.
        gzip_bytes: Largest size after gzip -9 in bytes; None for no limit.
        milliseconds: Largest latency in milliseconds; None for no limit.
        max_drop: How much worse than the model's own the metric may be; None for no limit.
        time: Which time counts: `milliseconds`, or a figure of the target, such as `npu_milliseconds`.
        device: Largest figures of the target by name, such as `npu_milliseconds`.
    """

    goal: Goal
    size: str
    raw_bytes: float | None = None
    gzip_bytes: float | None = None
    milliseconds: float | None = None
    max_drop: float | None = None
    time: str = "milliseconds"
    device: Mapping[str, float] = field(default_factory=dict)

    @property
    def size_name(self) -> str:
        """The name of the size that counts, such as `gzip_bytes`."""
        return f"{self.size}_bytes"

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        names = ("raw_bytes", "gzip_bytes", "milliseconds", "max_drop")
        own = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return {**own, **self.device}

    @property
    def sizes(self) -> list[str]:
        """The names of the figures that count besides the metric and the time: the size, then all that are limited."""
        limited = [name for name in self.limits if name not in ("max_drop", self.time)]
        return list(dict.fromkeys([self.size_name, *limited]))

    @property
    def by_density(self) -> bool:
        """Whether a limit is on something that zeros make less."""
        return any(name != "max_drop" and not is_rough(name) for name in self.limits)

    def over(self, cost: Cost, slack: float = 1.0) -> dict[str, float]:
        """The excess of a cost over each limit, as a fraction of the limit; 0 and below is within.

        Args:
            cost: The cost.
            slack: Factor on the limits of latency and memory, for costs that are only estimated.
        """
        found = {}
        for name, limit in self.limits.items():
            if name != "max_drop":
                found[name] = cost.figure(name) / (limit * (slack if is_rough(name) else 1.0)) - 1
        return found

    def fits(self, cost: Cost, slack: float = 1.0) -> bool:
        """Whether a cost is within all limits but that of the metric."""
        return all(excess <= 0 for excess in self.over(cost, slack).values())


def is_rough(name: str) -> bool:
    """Whether zeros and shared values leave a figure as it is, and it is only guessed before a file is there."""
    figure = figure_of(name)
    return name == "milliseconds" or (figure is not None and figure.kind == "activations")


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

    def meets(self, objective: Objective) -> bool:
        """Whether the file is within all limits."""
        return objective.fits(self.cost) and (objective.max_drop is None or self.drop <= objective.max_drop)


def dominates(one: Point, other: Point, objective: Objective) -> bool:
    """Whether a file is as good as another in all figures that count, and better in one.

    The figures are the metric, the time, and the sizes that the objective names or limits. Latencies that were measured
    on LiteRT count as equal where they differ by no more than the noise of their measurement, the larger of the two
    spreads; unless the objective is about latency, also where they differ by no more than `TIMING` and `JITTER`. A file
    within the limits is only dominated by others within them.
    """
    if other.meets(objective) and not one.meets(objective):
        return False
    pairs = [
        (one.drop, other.drop),
        *((one.cost.figure(name), other.cost.figure(name)) for name in objective.sizes),
    ]
    timing, noise = _noise(one, other, objective)
    times = one.cost.figure(objective.time), other.cost.figure(objective.time)
    slower = times[0] * (1 - timing) > times[1] + noise
    faster = times[0] + noise < times[1] * (1 - timing)
    if slower or any(a > b for a, b in pairs):
        return False
    return faster or any(a < b for a, b in pairs)


def _noise(one: Point, other: Point, objective: Objective) -> tuple[float, float]:
    """The fraction and the amount that two times differ by and still count as equal."""
    if objective.time != "milliseconds":
        return 0.0, 0.0  # what a target's tool says is the same every time
    timing = 0.0 if objective.milliseconds is not None or objective.goal == "fastest" else TIMING
    return timing, max(one.cost.spread, other.cost.spread, JITTER if timing else 0.0)


def front(points: Sequence[Point], objective: Objective) -> list[Point]:
    """The Pareto front: the files that no other dominates, the smallest first; of equal ones the first made."""
    kept = [p for p in points if not any(dominates(other, p, objective) for other in points)]
    found: list[Point] = []
    for point in sorted(kept, key=lambda p: p.number):
        figures = _figures(point, objective)
        alike = [p for p in found if _figures(p, objective) == figures]
        if not alike:  # with equal figures the latencies count as equal too, or one would dominate the other
            found.append(point)
    return sorted(found, key=lambda p: (p.cost.figure(objective.size_name), p.drop))


def _figures(point: Point, objective: Objective) -> tuple[float, ...]:
    return point.drop, *(point.cost.figure(name) for name in objective.sizes)


def ranked(points: Sequence[Point], objective: Objective) -> list[Point]:
    """The files by the objective, the best first: those within all limits, then those nearest to them."""

    def order(point: Point) -> tuple[Any, ...]:
        excess = sum(max(share, 0.0) for share in objective.over(point.cost).values())
        if objective.max_drop is not None:
            excess += max(point.drop - objective.max_drop, 0.0) / max(objective.max_drop, 1e-3)
        size = point.cost.figure(objective.size_name)
        goals = {"accurate": point.drop, "smallest": size, "fastest": point.cost.figure(objective.time)}
        return excess, goals[objective.goal], point.drop, size, point.number

    return sorted(points, key=order)

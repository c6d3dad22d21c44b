"""Details of benchmarks: how the latency of a file is spread, and what memory it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class Latency:
    """The latency of a file over all timed runs.

    Args:
        runs: Number of timed runs, after the warm-up.
        seconds: Latency in seconds by quantile: `p0` (the fastest run), `p10`, `p50`, `p90`, `p99` and `p100`.
        edges: Edges of the bins of the histogram in seconds, one more than counts, up to about `p99`.
        counts: Number of runs in each bin.
        above: Number of runs slower than the last edge.
    """

    runs: int
    seconds: dict[str, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    above: int


@dataclass(frozen=True)
class Latencies(Detail):
    """The latency of every file of a benchmark.

    Args:
        files: Latency by the name of the stage that made the file.
        threads: CPU threads.
    """

    name: ClassVar[str] = "latencies"

    files: dict[str, Latency]
    threads: int = 1

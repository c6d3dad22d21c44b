"""Section on the latency of files: its quantiles and its histogram; and on memory."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.timing import Latencies, Latency
from tfopt.report.blocks import Block, Figure, Grid, Heading, OnPage, Paragraph, Table
from tfopt.report.charts import Histogram, Outline
from tfopt.report.section import Section
from tfopt.report.units import duration, unit_of_time

QUANTILES = {"p0": "fastest", "p50": "median", "p90": "p90", "p99": "p99", "p100": "slowest"}
MEMORY = {"model_memory_bytes": "memory the model adds", "peak_memory_bytes": "peak of the process"}
# Quantiles that are marked in a histogram.
MARKED = ("p50", "p90", "p99")
# The ratio of the longest to the shortest latency from which on the axis is logarithmic.
FAR = 4.0
# Files that are drawn.
DRAWN = 12


def blocks(artifact: Artifact) -> list[Block]:
    """A row for each file with the quantiles of its latency, and a histogram of all of its runs."""
    found = artifact.details.of(Latencies)
    if not found or not found.files:
        return []
    memory = {name: title for name, title in MEMORY.items() if any(name in m for m in artifact.files.values())}
    headers = ("file", "runs", *QUANTILES.values(), *memory.values())
    rows = [
        (
            name,
            f"{one.runs:,}",
            *(duration(one.seconds[quantile]) if quantile in one.seconds else "-" for quantile in QUANTILES),
            *(_megabytes(artifact.files.get(name, {}).get(figure)) for figure in memory),
        )
        for name, one in found.files.items()
    ]
    drawn = _figures({name: one for name, one in list(found.files.items())[:DRAWN] if sum(one.counts)})
    threads = f"{found.threads} CPU thread{'s' if found.threads > 1 else ''}"
    said = f"On LiteRT in a process of its own, {threads}{_processor(artifact)}, after a warm-up."
    shown: list[Block] = [Heading(f"{artifact.name}: latency and memory"), Paragraph(said), Table(headers, rows)]
    return [*shown, OnPage([Grid(drawn)])] if drawn else shown


def _processor(artifact: Artifact) -> str:
    """Which processor it was, where the record tells."""
    name = next((artifact.environment[key] for key in ("cpu", "processor") if key in artifact.environment), "")
    return f" of {name}" if name else ""


def _figures(found: Mapping[str, Latency]) -> list[Figure]:
    """A histogram of each file; all are on the same axis, so that they can be compared."""
    if not found:
        return []
    longest = max(one.edges[-1] for one in found.values())
    factor, unit = unit_of_time(longest)
    ends = [edge * factor for one in found.values() for edge in (one.edges[0], one.edges[-1])]
    far = max(ends) > FAR * min(ends) > 0
    drawn = []
    for name, one in found.items():
        edges = [edge * factor for edge in one.edges]
        marks = [(one.seconds[quantile] * factor, quantile) for quantile in MARKED if quantile in one.seconds]
        chart = Histogram(
            f"Latency of {name}",
            [Outline(name, edges, one.counts)],
            f"{unit}{' (log scale)' if far else ''}",
            "runs",
            verticals=marks,
            log_x=far,
            reach_x=(min(ends), max(ends)),
        )
        beyond = f" The slowest {one.above / one.runs:.0%} are not drawn." if one.above else ""
        drawn.append(Figure(chart, f"{name}: {one.runs:,} runs.{beyond}"))
    return drawn


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.1f} MB"


SECTION = Section("latency", "Latency and memory", rank=16, of_artifact=blocks)

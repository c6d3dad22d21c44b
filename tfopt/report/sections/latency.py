"""Section on the latency of files: its quantiles and its histogram; and on memory."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.timing import Latencies, Latency
from tfopt.report.blocks import Block, Figure, Grid, Heading, OnPage, Paragraph, Table
from tfopt.report.charts import Histogram, Outline
from tfopt.report.section import Section
from tfopt.report.units import duration, unit_of_time

QUANTILES = {"p0": "fastest", "p50": "median", "p90": "p90", "p99": "p99", "p100": "slowest"}
MEMORY = {"model_memory_bytes": "memory for it", "peak_memory_bytes": "process"}
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
    drawn = [_figure(name, one) for name, one in list(found.files.items())[:DRAWN] if sum(one.counts)]
    threads = f"{found.threads} CPU thread{'s' if found.threads > 1 else ''}"
    said = f"On LiteRT in a process of its own, {threads}, after a warm-up."
    shown: list[Block] = [Heading(f"{artifact.name}: latency"), Paragraph(said), Table(headers, rows)]
    return [*shown, OnPage([Grid(drawn)])] if drawn else shown


def _figure(name: str, found: Latency) -> Figure:
    factor, unit = unit_of_time(found.edges[-1])
    edges = [edge * factor for edge in found.edges]
    marks = [(found.seconds["p50"] * factor, "median")] if "p50" in found.seconds else []
    chart = Histogram(f"Latency of {name}", [Outline(name, edges, found.counts)], unit, "runs", verticals=marks)
    slower = f" {found.above:,} slower ones are beyond it." if found.above else ""
    return Figure(chart, f"{name}: the latency of {found.runs:,} runs.{slower}")


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.1f} MB"


SECTION = Section("latency", "Latency and memory", rank=52, of_artifact=blocks)

"""Section on the accuracy search: the files that were tried, with size and metric."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import AccuracySteps
from tfopt.report.blocks import Block, Figure, Grid, Heading, Table
from tfopt.report.charts import Point, Scatter
from tfopt.report.section import Section

HEADERS = ("step", "file", "metric", "drop", "verdict")


def blocks(artifact: Artifact) -> list[Block]:
    """A row for each file: its size, its metric, and whether the metric is kept."""
    tried = artifact.details.of(AccuracySteps)
    if not tried or not tried.steps:
        return []
    rows = [
        (step.what, f"{step.bytes:,} B", f"{step.score:.4f}", f"{step.drop:+.4f}", "kept" if step.met else "lost")
        for step in tried.steps
    ]
    found: list[Block] = [Heading(f"{artifact.name}: what each step bought")]
    if len(rows) > 1:
        points = [
            Point(step.bytes, step.score, ", ".join(row), str(number), "s0" if step.met else "flag")
            for number, (step, row) in enumerate(zip(tried.steps, rows, strict=True), start=1)
        ]
        chart = Scatter(
            f"Metric against bytes of the {len(rows)} files that were tried for {artifact.name}",
            points,
            "bytes of the file",
            "metric",
            log_x=True,
            steps=[[(one.x, one.y) for one in points]],
        )
        figure = Figure(chart, "The files in the order in which they were tried; red where the metric was lost.")
        return [*found, Grid([figure, Table(HEADERS, rows)])]
    return [*found, Table(HEADERS, rows)]


SECTION = Section("steps", "What each step bought", rank=9, of_artifact=blocks)

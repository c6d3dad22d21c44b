"""Section on the accuracy search: the files that were tried, with size and metric."""

from __future__ import annotations

import math

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import AccuracySteps
from tfopt.report.baseline import change
from tfopt.report.blocks import Block, Figure, Grid, Heading, Table
from tfopt.report.charts import Point, Scatter
from tfopt.report.section import Section
from tfopt.report.units import bytes_

HEADERS = ("step", "file", "change", "seconds", "verdict")


def blocks(artifact: Artifact) -> list[Block]:
    """A row for each file: its size, its metric, and whether the metric is kept."""
    tried = artifact.details.of(AccuracySteps)
    if not tried or not tried.steps:
        return []
    name = tried.steps[0].metric or "metric"
    _, metric = output_and_metric(name)
    worse = 1 if metric and not metric.higher_is_better else -1
    rows = [
        (
            step.what,
            bytes_(step.bytes),
            f"{step.score:.4f}",
            change(name, worse * step.drop + 0.0),
            f"{step.seconds:.1f}" if step.seconds else "-",
            "kept" if step.met else "lost",
        )
        for step in tried.steps
    ]
    title = f"{name} on the validation split"
    headers = (*HEADERS[:2], title, *HEADERS[2:])
    found: list[Block] = [Heading(f"{artifact.name}: what each step bought")]
    if len(rows) > 1:
        points = [
            Point(step.bytes, step.score, ", ".join(row), str(number), "s0" if step.met else "flag")
            for number, (step, row) in enumerate(zip(tried.steps, rows, strict=True), start=1)
        ]
        chart = Scatter(
            f"{title} against bytes of the {len(rows)} files that were tried for {artifact.name}",
            points,
            "bytes of the file",
            title,
            log_x=True,
            steps=[[(one.x, one.y) for one in points]],
            ends_y=(0.0, 1.0) if metric and metric.of_classes else (-math.inf, math.inf),
        )
        figure = Figure(chart, "The files in the order in which they were tried; red where the metric was lost.")
        return [*found, Grid([figure, Table(headers, rows)])]
    return [*found, Table(headers, rows)]


SECTION = Section("steps", "What each step bought", rank=9, of_artifact=blocks)

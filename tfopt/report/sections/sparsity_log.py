"""Section on the sparsity over the epochs of a training."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TypeVar

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import SparsityRecord, SparsityRecords
from tfopt.report.blocks import Block, Figure, Grid, Heading, Table
from tfopt.report.charts import Line, Lines
from tfopt.report.section import Section

T = TypeVar("T")
ROWS = 12
KERNELS = 8


def blocks(artifact: Artifact) -> list[Block]:
    """The sparsity over the epochs: at most 12 rows, evenly chosen, the last one included.

    Up to 8 kernels have a column each; for more the columns are the least, the median and the largest sparsity.
    """
    log = artifact.details.of(SparsityRecords)
    if not log or not log.records:
        return []
    names = list(log.records[-1].kernels)
    each = len(names) <= KERNELS
    headers = ("epoch", "overall", *(names if each else ("least", "median", "largest")))
    columns = [(float(record.epoch), *_shares(record, names, each)) for record in by_epoch(log.records)]
    rows = [[f"{epoch:.0f}", *(f"{share:.4f}" for share in shares)] for epoch, *shares in chosen(columns)]
    found: list[Block] = [Heading(f"{artifact.name}: sparsity while training")]
    if len(columns) > 1:
        epochs, *values = zip(*columns, strict=True)
        lines = [Line(name, epochs, shares) for name, shares in zip(headers[1:], values, strict=True)]
        label = f"Sparsity of the kernels over the epochs of {artifact.name}"
        chart = Lines(label, lines, "epoch", "fraction of zeros", whole_x=True, include=(0.0,))
        caption = "The fraction of zeros at the end of each epoch."
        return [*found, Grid([Figure(chart, caption), Table(headers, rows)])]
    return [*found, Table(headers, rows)]


def by_epoch(log: Sequence[SparsityRecord]) -> list[SparsityRecord]:
    """The last record of each epoch."""
    return list({record.epoch: record for record in log}.values())


def chosen(rows: Sequence[T]) -> list[T]:
    """Of many rows an even choice with the first and the last."""
    if len(rows) <= ROWS:
        return list(rows)
    return [rows[round(row * (len(rows) - 1) / (ROWS - 1))] for row in range(ROWS)]


def _shares(record: SparsityRecord, names: Sequence[str], each: bool) -> tuple[float, ...]:
    shares = [record.kernels[name] for name in names]
    return (record.overall, *(shares if each else (min(shares), median(shares), max(shares))))


SECTION = Section("sparsity", "Sparsity while training", rank=24, of_artifact=blocks)

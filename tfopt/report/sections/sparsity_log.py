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
# Differences of sparsity that no line shows.
ALIKE = 0.005


def blocks(artifact: Artifact) -> list[Block]:
    """The sparsity over the epochs: at most 12 rows, evenly chosen, the last one included.

    Up to 8 kernels have a column each; for more the columns are the least, the median and the largest sparsity. Where
    all kernels are alike, one line says it.
    """
    log = artifact.details.of(SparsityRecords)
    if not log or not log.records:
        return []
    names = list(log.records[-1].kernels)
    records = by_epoch(log.records)
    headers, columns = _columns(records, names)
    rows = [[f"{epoch:.0f}", *(f"{share:.4f}" for share in shares)] for epoch, *shares in chosen(columns)]
    found: list[Block] = [Heading(f"{artifact.name}: sparsity while training")]
    alike = f" The {len(names)} kernels are alike." if len(names) > 1 and len(headers) == 2 else ""
    left_out = f" The table has {len(rows)} of {len(columns)} epochs." if len(rows) < len(columns) else ""
    if len(columns) > 1:
        epochs, *values = zip(*columns, strict=True)
        # The kernels lie over the line of all together where they agree.
        lines = [Line(name, epochs, shares) for name, shares in zip(headers[1:], values, strict=True)]
        label = f"Sparsity of the kernels over the epochs of {artifact.name}"
        chart = Lines(label, lines, "epoch", "fraction of zeros", whole_x=True, include=(0.0,))
        caption = f"The fraction of zeros at the end of each epoch.{alike}{left_out}"
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


def _columns(
    records: Sequence[SparsityRecord], names: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
    """The headers, and for each epoch the overall sparsity and that of the kernels."""
    shares = [[record.kernels[name] for name in names] for record in records]
    if all(abs(share - record.overall) < ALIKE for record, own in zip(records, shares, strict=True) for share in own):
        return ("epoch", "overall"), [(float(record.epoch), record.overall) for record in records]
    if len(names) > KERNELS:
        shares = [[min(own), median(own), max(own)] for own in shares]
        names = ("least", "median", "largest")
    rows = [(float(record.epoch), record.overall, *own) for record, own in zip(records, shares, strict=True)]
    return ("epoch", "overall", *names), rows


SECTION = Section("sparsity", "Sparsity while training", rank=54, within="curves", of_artifact=blocks)

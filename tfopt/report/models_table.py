"""The table of a run's models on its page: each figure with what it comes to below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfopt.report.blocks import Remark, Table, Text
from tfopt.report.units import duration

if TYPE_CHECKING:
    from tfopt.report.summary import Row

LATENCY = "latency_median_seconds"


def models_table(rows: Sequence[Row], scores: Sequence[str], remarks: Sequence[Sequence[str]]) -> Table:
    """A row for each model; columns without a figure are left out.

    Args:
        rows: The models.
        scores: Names of the metrics, the gated one first.
        remarks: What each row comes to against the baseline: of the stage, of each score, of the sparsity, and of the
            bytes, the bytes after gzip, the parameters that are not 0, and the latency.
    """
    sizes = {"raw_bytes": "bytes", "gzip_bytes": "after gzip -9", LATENCY: "median latency"}
    titles = {**{score: score for score in scores}, **sizes, "nonzero_parameters": "non-zero", "sparsity": "zeros"}
    order = ["", *scores, "sparsity", "raw_bytes", "gzip_bytes", "nonzero_parameters", LATENCY]
    names = [name for name in titles if any(name in row.metrics for row in rows)]
    cells = []
    for row, said in zip(rows, remarks, strict=True):
        remark = dict(zip(order, said, strict=True))
        cells.append((_cell(row.stage, remark[""]), *(_cell(_figure(row, name), remark[name]) for name in names)))
    return Table(["stage", *(titles[name] for name in names)], cells, label="All models")


def _cell(figure: str, remark: str) -> Text:
    return (figure, Remark(remark)) if remark else figure


def _figure(row: Row, name: str) -> str:
    value = row.metrics.get(name)
    if value is None:
        return "-"
    if name == LATENCY:
        return duration(value)
    if name == "sparsity":
        return f"{value:.1%}"
    return f"{value:,.0f}" if name.endswith(("_bytes", "_parameters")) else f"{value:.4f}"

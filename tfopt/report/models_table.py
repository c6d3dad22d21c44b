"""The table of a run's models on its page: each figure with what it comes to below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfopt.report.blocks import Remark, Table, Text
from tfopt.report.units import duration

LATENCY = "latency_median_seconds"


def models_table(
    models: Mapping[str, Mapping[str, float]], scores: Sequence[str], remarks: Sequence[Sequence[str]]
) -> Table:
    """A row for each model; columns without a figure are left out.

    Args:
        models: What was measured of each model, by its stage.
        scores: Names of the metrics, the gated one first.
        remarks: What each row comes to against the baseline: of the stage, of each score, of the sparsity, and of the
            bytes, the bytes after gzip, the parameters that are not 0, and the latency.
    """
    sizes = {"raw_bytes": "bytes", "gzip_bytes": "after gzip -9", LATENCY: "median latency"}
    # The metric that counts, the sizes and the latency are on a narrow screen without scrolling.
    first, rest = ({score: score for score in part} for part in (scores[:1], scores[1:]))
    titles = {**first, **sizes, **rest, "nonzero_parameters": "non-zero", "sparsity": "zeros"}
    order = ["", *scores, "sparsity", "raw_bytes", "gzip_bytes", "nonzero_parameters", LATENCY]
    names = [name for name in titles if any(name in measured for measured in models.values())]
    cells = []
    for (stage, measured), said in zip(models.items(), remarks, strict=True):
        remark = dict(zip(order, said, strict=True))
        cells.append((_cell(stage, remark[""]), *(_cell(_figure(measured, name), remark[name]) for name in names)))
    return Table(["stage", *(titles[name] for name in names)], cells, label="All models")


def _cell(figure: str, remark: str) -> Text:
    return (figure, Remark(remark)) if remark else figure


def _figure(measured: Mapping[str, float], name: str) -> str:
    value = measured.get(name)
    if value is None:
        return "-"
    if name == LATENCY:
        return duration(value)
    if name == "sparsity":
        return f"{value:.1%}"
    return f"{value:,.0f}" if name.endswith(("_bytes", "_parameters")) else f"{value:.4f}"

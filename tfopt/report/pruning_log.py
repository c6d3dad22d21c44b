"""How the zeros came about while a stage trained, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfopt.recipe.artifact import Artifact

ROWS = 12
KERNELS = 8


def section(artifact: Artifact) -> list[str]:
    """What `report.md` says about the sparsity over the epochs: at most 12 rows, evenly chosen, the last one included.

    Up to 8 kernels have a column each; of more there are the least, the median and the largest.
    """
    log = artifact.details.get("sparsity_log")
    if not log:
        return []
    names = list(log[-1]["kernels"])
    each = len(names) <= KERNELS
    headers = ("epoch", "overall", *(names if each else ("least", "median", "largest")))
    lines = [f"| {' | '.join(headers)} |", f"|---|{'---:|' * (len(headers) - 1)}"]
    lines += [f"| {' | '.join(_cells(record, names, each))} |" for record in chosen(log)]
    return ["", f"## {artifact.name}: sparsity while training", "", *lines]


def chosen(log: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last record of each epoch, and of many epochs some, evenly, the first and the last among them."""
    epochs = list({record["epoch"]: record for record in log}.values())
    if len(epochs) <= ROWS:
        return epochs
    return [epochs[round(row * (len(epochs) - 1) / (ROWS - 1))] for row in range(ROWS)]


def _cells(record: Mapping[str, Any], names: Sequence[str], each: bool) -> list[str]:
    shares = [record["kernels"][name] for name in names]
    values = shares if each else [min(shares), median(shares), max(shares)]
    return [str(record["epoch"]), *(f"{value:.4f}" for value in (record["overall"], *values))]

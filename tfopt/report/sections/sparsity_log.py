"""Section on the sparsity over the epochs of a training."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import SparsityRecord, SparsityRecords
from tfopt.report.markdown import headed, table
from tfopt.report.section import Section

ROWS = 12
KERNELS = 8


def markdown(artifact: Artifact) -> list[str]:
    """The sparsity over the epochs: at most 12 rows, evenly chosen, the last one included.

    Up to 8 kernels have a column each; for more the columns are the least, the median and the largest sparsity.
    """
    log = artifact.details.of(SparsityRecords)
    if not log or not log.records:
        return []
    names = list(log.records[-1].kernels)
    each = len(names) <= KERNELS
    headers = ("epoch", "overall", *(names if each else ("least", "median", "largest")))
    rows = [_cells(record, names, each) for record in chosen(log.records)]
    return headed(f"{artifact.name}: sparsity while training", *table(headers, rows))


def chosen(log: Sequence[SparsityRecord]) -> list[SparsityRecord]:
    """The last record of each epoch; of many epochs an even choice with the first and the last."""
    epochs = list({record.epoch: record for record in log}.values())
    if len(epochs) <= ROWS:
        return epochs
    return [epochs[round(row * (len(epochs) - 1) / (ROWS - 1))] for row in range(ROWS)]


def _cells(record: SparsityRecord, names: Sequence[str], each: bool) -> list[str]:
    shares = [record.kernels[name] for name in names]
    values = shares if each else [min(shares), median(shares), max(shares)]
    return [str(record.epoch), *(f"{value:.4f}" for value in (record.overall, *values))]


SECTION = Section("sparsity", rank=55, of_artifact=markdown)

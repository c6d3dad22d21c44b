"""The results of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.recipe.artifact import PAGE, Artifact
from tfopt.tabular import Tabular

# The figures of a model in a table of few columns, besides its scores; `Artifact.metrics` has all.
SHOWN = ("sparsity", "raw_bytes", "gzip_bytes", "nonzero_parameters", "latency_median_seconds", "arena_bytes")


@dataclass(frozen=True, repr=False)
class Result(Tabular):
    """The results of a run.

    Args:
        artifacts: Every result by its stage's name, the source model first, and the `baseline`: what was measured of
            the model that the run starts from.
        reused: Names of the stages whose committed result was used.
        folder: The recipe's folder, with all results and the reports.
        leads: Whether this process made the results; a worker that does not lead found them.
    """

    artifacts: dict[str, Artifact]
    reused: tuple[str, ...]
    folder: Path
    leads: bool = True

    @property
    def final(self) -> Artifact:
        """The artifact of the last model file that was made."""
        made = [a for a in self.artifacts.values() if not a.files]
        return made[-1]

    @property
    def path(self) -> Path:
        """The last model file that was made."""
        return self.final.path

    @property
    def page(self) -> Path:
        """The report for reading in a browser, `report.html`."""
        return self.folder / PAGE

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the last model file, by its own stage and by those that measured it after."""
        merged = dict(self.final.metrics)
        for artifact in self.artifacts.values():
            merged.update(artifact.files.get(self.final.name, {}))
        return merged

    @property
    def title(self) -> str:
        """The run's name and its file."""
        return f"{self.folder.name}, {self.path}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each model of the run, with its scores, sizes and latency."""
        from tfopt.report import summary

        shown = (*summary.score_names(self.artifacts), *SHOWN)
        rows = summary.rows(self.artifacts)
        figures = [{name: row.metrics[name] for name in shown if name in row.metrics} for row in rows]
        return [
            {"stage": row.stage, "kind": row.kind, "format": row.format, "baseline": row.baseline, **own}
            for row, own in zip(rows, figures, strict=True)
        ]

    def shown(self) -> list[dict[str, Any]]:
        """The rows of the report's table, with its heads and units; what no row has is left out."""
        from tfopt.report import summary

        scores = summary.score_names(self.artifacts)
        heads = summary.headers(scores)
        found = [dict(zip(heads, summary.told(row, scores), strict=True)) for row in summary.rows(self.artifacts)]
        empty = {head for head in heads if all(row[head] == "-" for row in found)}
        return [{head: "" if cell == "-" else cell for head, cell in row.items() if head not in empty} for row in found]

"""Section on the accuracy search: the files that were tried, with size and metric."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import AccuracySteps
from tfopt.report.markdown import headed, table
from tfopt.report.section import Section

HEADERS = ("step", "file", "metric", "drop", "")


def markdown(artifact: Artifact) -> list[str]:
    """A row for each file: its size, its metric, and whether the metric is kept."""
    tried = artifact.details.of(AccuracySteps)
    if not tried or not tried.steps:
        return []
    rows = [
        (step.what, f"{step.bytes:,} B", f"{step.score:.4f}", f"{step.drop:+.4f}", "kept" if step.met else "lost")
        for step in tried.steps
    ]
    return headed(f"{artifact.name}: what each step bought", *table(HEADERS, rows, left=len(HEADERS)))


SECTION = Section("steps", rank=45, of_artifact=markdown)

"""Section with warnings of a conversion."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """A paragraph in bold for each warning."""
    return [line for text in artifact.warnings for line in ("", f"**WARNING** {artifact.name}: {text}")]


SECTION = Section("warnings", rank=15, of_artifact=markdown)

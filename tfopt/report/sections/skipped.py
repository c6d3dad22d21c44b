"""Section on layers and ops that stages left alone."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.markdown import headed
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """Every layer or op that a stage left alone, with the reason."""
    skipped = [f"- `{one.where}`: {one.reason}" for one in artifact.skipped]
    return headed(f"{artifact.name}: left as it was", *skipped) if skipped else []


SECTION = Section("skipped", rank=120, of_artifact=markdown)

"""Section on accuracy gates that were not met."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """The sentence of a gate that failed, in bold."""
    return ["", f"**FAIL** {artifact.name}: {artifact.failed}"] if artifact.failed else []


SECTION = Section("gates", rank=110, of_artifact=markdown)

"""Section on accuracy gates that were not met, and what to try next."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Callout
from tfopt.report.section import Section


def blocks(artifact: Artifact) -> list[Block]:
    """The sentence of a gate that failed."""
    return [Callout("failure", f"{artifact.name}: {artifact.failed}")] if artifact.failed else []


SECTION = Section("gates", "What failed", rank=5, of_artifact=blocks)

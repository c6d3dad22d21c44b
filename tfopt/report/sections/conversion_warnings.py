"""Section with warnings of a conversion."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Callout
from tfopt.report.section import Section


def blocks(artifact: Artifact) -> list[Block]:
    """A paragraph for each warning."""
    return [Callout("warning", f"{artifact.name}: {sentence}") for sentence in artifact.warnings]


SECTION = Section("warnings", "Warnings", rank=6, of_artifact=blocks)

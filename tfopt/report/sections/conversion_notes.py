"""Section with remarks on how a file was converted."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.report.blocks import Block, Bullets, Heading
from tfopt.report.section import Section


def blocks(artifact: Artifact) -> list[Block]:
    """A line for each note of the conversion."""
    kept = artifact.details.of(ConversionNotes)
    if not kept or not kept.notes:
        return []
    return [Heading(f"{artifact.name}: how it was made"), Bullets(kept.notes)]


SECTION = Section("notes", "How it was made", rank=42, within="skipped", of_artifact=blocks)

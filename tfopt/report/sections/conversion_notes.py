"""Section with remarks on how a file was converted."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.report.markdown import headed
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """A line for each note of the conversion."""
    kept = artifact.details.of(ConversionNotes)
    if not kept or not kept.notes:
        return []
    return headed(f"{artifact.name}: how it was made", *(f"- {note}" for note in kept.notes))


SECTION = Section("notes", rank=35, of_artifact=markdown)

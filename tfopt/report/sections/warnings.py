"""Section on what has to be known of a file before it is used."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import ConversionWarnings
from tfopt.report.markdown import headed
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """A line for each warning of the conversion."""
    kept = artifact.details.of(ConversionWarnings)
    if not kept or not kept.warnings:
        return []
    return headed(f"{artifact.name}: warnings", *(f"- {warning}" for warning in kept.warnings))


SECTION = Section("warnings", rank=34, of_artifact=markdown)

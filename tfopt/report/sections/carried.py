"""Section on a model converted from Keras 2: its agreement with the original."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import CarriedOver
from tfopt.report.markdown import headed
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """The largest difference of its outputs from the original's."""
    carried = artifact.details.of(CarriedOver)
    if not carried:
        return []
    error = f"{carried.max_error:.3g}, of values up to {carried.scale:.3g}"
    return headed(
        f"{artifact.name}: carried over from {carried.origin}",
        f"- largest difference of the outputs in Keras 3: {error}",
    )


SECTION = Section("carried", rank=20, of_artifact=markdown)

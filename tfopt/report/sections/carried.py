"""Section on a model converted from Keras 2: its agreement with the original."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import CarriedOver
from tfopt.report.blocks import Block, Bullets, Heading
from tfopt.report.section import Section
from tfopt.report.stage_title import title


def blocks(artifact: Artifact) -> list[Block]:
    """The largest difference of its outputs from the original's."""
    carried = artifact.details.of(CarriedOver)
    if not carried:
        return []
    error = f"{carried.max_error:.3g}, of values up to {carried.scale:.3g}"
    heading = Heading(f"{title(artifact.name)}: carried over from {carried.origin}")
    return [heading, Bullets([f"largest difference of the outputs in Keras 3: {error}"])]


SECTION = Section("carried", "Carried over from Keras 2", rank=80, of_artifact=blocks)

"""How a file does on LiteRT for Microcontrollers."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.markdown import headed
from tfopt.report.section import Section


def markdown(artifact: Artifact) -> list[str]:
    """The memory that a file takes there, and how far its outputs are from LiteRT's."""
    if "arena_bytes" not in artifact.metrics:
        return []
    arena, error = artifact.metrics["arena_bytes"], artifact.metrics["tflm_max_error"]
    return headed(
        f"{artifact.name}: on LiteRT for Microcontrollers",
        f"Tensor arena on microcontrollers: {arena:,.0f} B; largest difference from LiteRT {error:.3g}.",
    )


SECTION = Section("microcontrollers", rank=40, of_artifact=markdown)

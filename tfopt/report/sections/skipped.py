"""Section on layers and ops that stages left alone."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Bullets, Code, Folded, Heading, Text
from tfopt.report.section import Section

# Lines from which on the page folds what comes after.
SHOWN = 40


def blocks(artifact: Artifact) -> list[Block]:
    """Every layer or op that a stage left alone, with the reason."""
    lines: list[Text] = [(Code(one.where), f": {one.reason}") for one in artifact.skipped]
    if not lines:
        return []
    found: list[Block] = [Heading(f"{artifact.name}: left as it was"), Bullets(lines[:SHOWN])]
    if len(lines) > SHOWN:
        found.append(Folded(f"{len(lines) - SHOWN} more", [Bullets(lines[SHOWN:])]))
    return found


SECTION = Section("skipped", "Left as they were", rank=76, of_artifact=blocks)

"""Section on layers and ops that stages left alone."""

from __future__ import annotations

from tfopt.recipe.artifact import BASELINE, Artifact
from tfopt.recipe.details.weights import WeightsByLayer
from tfopt.report.blocks import Block, Bullets, Code, Folded, Heading, Paragraph, Text
from tfopt.report.section import Section

# Lines from which on the page folds what comes after.
SHOWN = 40


def blocks(artifact: Artifact) -> list[Block]:
    """Every layer or op that a stage left alone, with the reason."""
    lines: list[Text] = [(Code(one.where), f": {one.reason}") for one in artifact.skipped]
    if not lines:
        return _all(artifact)
    what = "not measured" if artifact.kind == BASELINE else "left as it was"
    found: list[Block] = [Heading(f"{artifact.name}: {what}"), Bullets(lines[:SHOWN])]
    if len(lines) > SHOWN:
        found.append(Folded(f"{len(lines) - SHOWN} more", [Bullets(lines[SHOWN:])]))
    return found


def _all(artifact: Artifact) -> list[Block]:
    """That nothing was left, where every layer of a file is known to have one precision, not the model's."""
    weights = artifact.details.of(WeightsByLayer)
    if artifact.format != "tflite" or not weights or weights.others:
        return []
    precisions = {row.after.precision for row in weights.rows}
    if len(precisions) != 1 or precisions == {"float32"}:
        return []
    said = f"Nothing: every layer with weights is in {precisions.pop()}."
    return [Heading(f"{artifact.name}: left as it was"), Paragraph(said)]


SECTION = Section("skipped", "Left as it was", rank=40, of_artifact=blocks)

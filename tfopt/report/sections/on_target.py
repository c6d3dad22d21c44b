"""Section on a file's measurements on the runtime of its target."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.target import TARGETS
from tfopt.report.blocks import Block, Heading, Paragraph
from tfopt.report.on_device import text, title
from tfopt.report.section import Section


def blocks(artifact: Artifact) -> list[Block]:
    """Values measured on the target, such as memory, and the difference of the outputs from LiteRT's."""
    metrics, found = artifact.metrics, list[Block]()
    for target in TARGETS.values():
        if target.difference in metrics:
            words = [f"{title(name)} {text(name, metrics[name])}" for name in target.figures if name in metrics]
            words += [f"largest difference from LiteRT {metrics[target.difference]:.3g}."]
            words[0] = words[0][0].upper() + words[0][1:]
            found += [Heading(f"{artifact.name}: on {target.about}"), Paragraph("; ".join(words))]
    return found


SECTION = Section("on_target", "On the target", rank=18, of_artifact=blocks)

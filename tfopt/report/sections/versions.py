"""Section on the machines and package versions that made the results."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Heading, Paragraph
from tfopt.report.section import Section


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """A line for each environment that an artifact was made in."""
    made = dict.fromkeys(", ".join(f"{k} {v}" for k, v in a.environment.items()) for a in artifacts.values())
    return [Heading("Made with"), *(Paragraph(line) for line in made if line)]


SECTION = Section("versions", "Made with", rank=200, of_run=blocks)

"""Section on the machines and package versions that made the results."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.report.markdown import headed
from tfopt.report.section import Section


def markdown(artifacts: Mapping[str, Artifact]) -> list[str]:
    """A line for each environment that an artifact was made in."""
    made = dict.fromkeys(", ".join(f"{k} {v}" for k, v in a.environment.items()) for a in artifacts.values())
    return headed("Made with", *made)


SECTION = Section("versions", rank=200, of_run=markdown)

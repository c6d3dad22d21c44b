"""Sections of a report, and their registry: each is one file of `tfopt/report/sections`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tfopt.recipe.artifact import Artifact
from tfopt.registry import Registry
from tfopt.report.blocks import Block
from tfopt.report.markdown import lines


@dataclass(frozen=True)
class Section:
    """A part of the report of a run. It is about the run, or about each of its artifacts.

    Both functions return the blocks of `report.md` and of `report.html`, or none where they have nothing to say.

    Args:
        name: Name of the section in the registry, and its anchor on the page.
        title: Its title on the page and in the table of contents.
        rank: Position in both. `report.md` has neighbouring sections about artifacts artifact by artifact.
        within: Name of the section that it is a part of on the page, where that one has something to say.
        of_run: Makes the blocks from all artifacts, for a section about the run.
        of_artifact: Makes the blocks from one artifact, for a section about each artifact.
    """

    name: str
    title: str
    rank: int = 100
    within: str = ""
    of_run: Callable[[Mapping[str, Artifact]], Sequence[Block]] | None = None
    of_artifact: Callable[[Artifact], Sequence[Block]] | None = None

    def blocks(self, artifacts: Mapping[str, Artifact]) -> list[Block]:
        """The blocks about a whole run."""
        if self.of_run:
            return list(self.of_run(artifacts))
        of_one = self.of_artifact
        return [block for artifact in artifacts.values() for block in of_one(artifact)] if of_one else []


SECTIONS = Registry("tfopt.report.sections", Section)


def markdown(artifacts: Mapping[str, Artifact]) -> list[str]:
    """The lines of all sections."""
    found: list[str] = []
    for about_run, neighbours in groupby(SECTIONS.values(), lambda section: section.of_artifact is None):
        sections = list(neighbours)
        shares = [artifacts] if about_run else [{name: artifact} for name, artifact in artifacts.items()]
        for share in shares:
            for section in sections:
                found += lines(section.blocks(share))
    return found

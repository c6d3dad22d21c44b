"""Sections of a report, and their registry: each is one file of `tfopt/report/sections`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

from tfopt.recipe.artifact import Artifact
from tfopt.registry import Registry


@dataclass(frozen=True)
class Page:
    """A page with plots beside `report.md`.

    Args:
        file: File name in the run's folder, such as `curves.html`.
        html: Makes the page from the run's name and its artifacts; None where there is nothing to show.
    """

    file: str
    html: Callable[[str, Mapping[str, Artifact]], str | None]


@dataclass(frozen=True)
class Section:
    """A part of the report of a run. It is about the run, or about each of its artifacts.

    Both functions return lines of Markdown that begin with an empty one, or none where they have nothing to say.

    Args:
        name: Name of the section in the registry and on the terminal.
        rank: Position in `report.md`. Neighbouring sections about artifacts are written artifact by artifact.
        of_run: Makes the lines from all artifacts, for a section about the run.
        of_artifact: Makes the lines from one artifact, for a section about each artifact.
        page: A page with plots that belongs to the section.
    """

    name: str
    rank: int = 100
    of_run: Callable[[Mapping[str, Artifact]], list[str]] | None = None
    of_artifact: Callable[[Artifact], list[str]] | None = None
    page: Page | None = None


SECTIONS = Registry("tfopt.report.sections", Section)


def markdown(artifacts: Mapping[str, Artifact]) -> list[str]:
    """The lines of all sections."""
    lines: list[str] = []
    for about_run, neighbours in groupby(SECTIONS.values(), lambda section: section.of_artifact is None):
        sections = list(neighbours)
        if about_run:
            lines += [line for section in sections if section.of_run for line in section.of_run(artifacts)]
            continue
        for artifact in artifacts.values():
            lines += [line for section in sections if section.of_artifact for line in section.of_artifact(artifact)]
    return lines


def pages() -> dict[str, Page]:
    """The pages of all sections, by the section's name."""
    return {name: section.page for name, section in SECTIONS.items() if section.page}

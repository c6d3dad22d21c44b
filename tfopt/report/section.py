"""What a section of a report is, and the registry of them: each is one file of `tfopt/report/sections`."""

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
        file: Its name in the run's folder, such as `curves.html`.
        html: From the run's name and its artifacts to the page; None where there is nothing to show.
    """

    file: str
    html: Callable[[str, Mapping[str, Artifact]], str | None]


@dataclass(frozen=True)
class Section:
    """A part of the report of a run. It is about the run, or about each of its artifacts.

    Both functions return lines of Markdown that begin with an empty one, or none where they have nothing to say.

    Args:
        name: What it is called on the terminal, and by which it is found.
        rank: Its place in `report.md`. Sections about artifacts that follow each other are told artifact by artifact.
        of_run: From all artifacts to its lines.
        of_artifact: From one artifact to its lines.
        page: The page that it has besides.
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

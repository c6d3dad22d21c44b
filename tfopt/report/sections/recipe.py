"""Section with the recipe as it was run, and the command that runs it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Code, Link, Listing, OnPage, Paragraph
from tfopt.report.section import Section

FILE = "recipe.yaml"
# The folders in front of a file's name, which tell of the machine and not of the run.
FOLDERS = re.compile(r"(?<![\w./~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:,'\"\]}]+[/\\])+")


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """The recipe's lines, without the folders of this machine, and how to run it again."""
    folder = next((artifact.folder.parent for artifact in artifacts.values()), None)
    if folder is None or not (folder / FILE).is_file():
        return []
    written = (folder / FILE).read_text()
    shown = FOLDERS.sub("…/", written)
    cut = ", which has the full paths" if shown != written else ""
    above = folder.parent.name
    again = Code(f"tfopt run {above}/{folder.name}/{FILE} --out {above}")
    said = (
        "To run it again: ",
        again,
        ". Stages that have not changed are reused. The file is ",
        Link(FILE, FILE),
        cut,
        ".",
    )
    return [OnPage([Paragraph(said), Listing(shown, "yaml")])]


def read_recipe(folder: Path) -> Mapping[str, Any]:
    """The recipe of a run's folder; empty where there is none."""
    from ruamel.yaml import YAML

    if not (folder / FILE).is_file():
        return {}
    found = YAML(typ="safe").load((folder / FILE).read_text())
    return found if isinstance(found, Mapping) else {}


def settings_of(artifact: Artifact) -> Mapping[str, Any]:
    """The settings that the recipe has for the stage that made an artifact; empty where it is not found."""
    stages = read_recipe(artifact.folder.parent).get("stages")
    for stage in stages if isinstance(stages, list | tuple) else ():
        for kind, settings in stage.items() if isinstance(stage, Mapping) else [(stage, None)]:
            own = settings if isinstance(settings, Mapping) else {}
            if kind == artifact.kind and own.get("name", kind) == artifact.name:
                return own
    return {}


def written_data(folder: Path) -> str:
    """The recipe's data where it is one word, as a command takes it; else empty."""
    data = read_recipe(folder).get("data")
    return data if isinstance(data, str) else ""


SECTION = Section("recipe", "Recipe", rank=190, of_run=blocks)

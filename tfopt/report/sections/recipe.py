"""Section with the recipe as it was run, and the command that runs it again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Code, Link, Listing, OnPage, Paragraph
from tfopt.report.recipe_file import FILE, recipe_text
from tfopt.report.result_path import result_path, results_path
from tfopt.report.section import Section

# The folders in front of a file's name, which tell of the machine and not of the run.
FOLDERS = re.compile(r"(?<![\w./~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:,'\"\]}]+[/\\])+")


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """The recipe's lines, without the folders of this machine, and how to run it again."""
    folder = next((artifact.folder.parent for artifact in artifacts.values()), None)
    whole = recipe_text(folder) if folder else ""
    if folder is None or not whole:
        return []
    shown = FOLDERS.sub("…/", whole)
    cut = ", which has the full paths" if shown != whole else ""
    again = Code(f"tfopt run {result_path(folder, FILE)} --out {results_path(folder)}")
    said = (
        "To run it again: ",
        again,
        ". Stages that have not changed are reused. The file is ",
        Link(FILE, FILE),
        cut,
        ".",
    )
    return [OnPage([Paragraph(said), Listing(shown, "yaml")])]


SECTION = Section("recipe", "Recipe", rank=190, of_run=blocks)

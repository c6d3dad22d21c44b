"""Pages of a recipe's own fields and of its stages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfopt.recipe.json_schema import json_schema
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import Stage, known_stages

from .page import Page, docstring, joined, link, plain, table
from .settings import Folders, SettingsTables, written

FOLDER = "reference/stages/"
RECIPE_PAGE = "reference/recipe.md"
# The settings that stages have in common, under the heading that they have on each page.
_SHARED = {
    "TrainingStage": "Settings of the training",
    "Export": "Settings of the file",
    "Stage": "Settings of every stage",
}
_FORMATS = {"keras": "a Keras model", "tflite": "a `.tflite`"}


def recipe_page(folders: Folders) -> Page:
    """The fields of a recipe, and of its `runtime`."""
    path = RECIPE_PAGE
    tables = SettingsTables(path, folders)
    text = joined(
        "# Recipes",
        docstring(Recipe.__doc__),
        f"`stages` is a list of {link('stages', f'{FOLDER}index.md', path)}. "
        "`tfopt schema` prints the JSON schema of all this, from which editors complete and check.",
        tables.rows(Recipe, written(Recipe), schema=json_schema()),
        tables.inside(Recipe, ["runtime"]),
    )
    return Page(path, "Recipes", text)


def stage_pages(folders: Folders, examples: Mapping[str, tuple[str, str]]) -> Iterator[Page]:
    """A page for each stage, after one with the list of them.

    Args:
        folders: The folders with the pages of registries' entries, by the names of all entries.
        examples: The YAML of each kind of stage as a recipe has it, and the path of the recipe's page.
    """
    stages = known_stages()
    index = f"{FOLDER}index.md"
    rows = [
        (link(f"`{kind}`", f"{FOLDER}{kind}.md", index), stage.takes, stage.gives, plain(_first(stage)))
        for kind, stage in stages.items()
    ]
    intro = "In the usual order of a recipe. A stage works on what the one before it made, or on what `after` names."
    yield Page(index, "Stages", joined("# Stages", intro, table(("stage", "takes", "gives", "what it does"), rows)))
    for kind, stage in stages.items():
        yield Page(f"{FOLDER}{kind}.md", kind, _text(kind, stage, folders, examples.get(kind)))


def _text(kind: str, stage: type[Stage], folders: Folders, example: tuple[str, str] | None) -> str:
    page = f"{FOLDER}{kind}.md"
    tables = SettingsTables(page, folders)
    parts = [f"# {kind}", docstring(stage.__doc__), _facts(stage)]
    if example:
        yaml, recipe = example
        name = recipe.rpartition("/")[2].removesuffix(".md")
        parts += [f"As in the recipe {link(name, recipe, page)}:", f"```yaml\n{yaml}```"]
    for heading, names in _groups(stage):
        parts += [f"## {heading}", tables.rows(stage, names)]
    parts += [tables.inside(stage, written(stage))]
    return joined(*parts)


def _facts(stage: type[Stage]) -> str:
    """What the stage takes and gives, in a sentence, and its class."""
    takes = "every `.tflite` made before it" if stage.gathers else _FORMATS[stage.takes]
    trains = " It trains, on all devices of the recipe's `runtime`." if stage.trains else ""
    return f"It takes {takes} and gives {_FORMATS[stage.gives]}.{trains} In Python: `tfopt.{stage.__name__}`."


def _groups(stage: type[Stage]) -> Iterator[tuple[str, Sequence[str]]]:
    """The stage's own settings, then those that it shares with others, each with the heading."""
    owners: dict[str, list[str]] = {}
    for name in written(stage):
        owner = next(cls.__name__ for cls in stage.__mro__ if name in inspect.get_annotations(cls))
        owners.setdefault(owner if owner in _SHARED else "", []).append(name)
    if "" in owners:
        yield "Settings", owners[""]
    for owner, heading in _SHARED.items():
        if owner in owners:
            yield heading, owners[owner]


def _first(documented: Any) -> str:
    """The first paragraph of a docstring."""
    return (documented.__doc__ or "").strip().partition("\n\n")[0]

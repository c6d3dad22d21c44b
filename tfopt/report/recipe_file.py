"""The recipe that lies in a run's folder, as it was run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfopt.errors import TfoptError
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.recipe import Recipe

FILE = "recipe.yaml"


def recipe_text(folder: Path) -> str:
    """The recipe of a run's folder as it was written; empty where it is not there."""
    file = folder / FILE
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def read_recipe(folder: Path) -> Recipe | None:
    """The recipe of a run's folder, none of whose code is run for a report; None where it is not there."""
    try:
        return Recipe.load(folder / FILE, run_code=False)
    except TfoptError:
        return None


def settings_of(artifact: Artifact) -> Mapping[str, Any]:
    """The settings that the recipe gives the stage that made an artifact; empty where it is not found."""
    recipe = read_recipe(artifact.folder.parent)
    steps = recipe.chain() if recipe else []
    found = next((step.stage for step in steps if step.name == artifact.name), None)
    return found.model_dump(mode="json", exclude_unset=True) if found else {}


def written_data(folder: Path) -> str:
    """The recipe's data where it is one word, as a command takes it; else empty."""
    recipe = read_recipe(folder)
    return recipe.data if recipe and isinstance(recipe.data, str) else ""

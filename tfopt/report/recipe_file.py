"""The recipe that lies in a run's folder, as it was run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfopt.recipe.artifact import Artifact

FILE = "recipe.yaml"


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

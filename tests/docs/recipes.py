"""Recipes from YAML blocks: whole ones, and parts of one with what is missing around them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.docs.documents import Block
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.stage import known_stages

AROUND = {"name": "part", "model": "model.keras", "data": "data.npz", "loss": "sparse_categorical_crossentropy"}
TRAIN: dict[str, Any] = {"train": {"epochs": 1}}


def validate(block: Block, folder: Path) -> None:
    """Validates a block of YAML as a recipe, or as a part of one.

    Stages in a list are alternatives where they do not make a recipe together: then each is one by itself.

    Args:
        block: A recipe, some of its fields, a list of stages, or one stage.
        folder: Where files that recipes name lie.
    """
    found = YAML(typ="safe", pure=True).load(block.text)
    if isinstance(found, Mapping) and len(found) == 1 and next(iter(found)) in known_stages():
        found = [found]
    if isinstance(found, Mapping):
        fields = dict(found)
        stages = fields.pop("stages", [TRAIN])
    else:
        fields, stages = {}, found
    if not isinstance(stages, list):
        raise ValueError(f"{block.place} is neither a recipe, nor fields of one, nor stages.")
    try:
        _check({**AROUND, **fields, "stages": _from_a_model(stages)}, folder)
    except Exception as together:
        if isinstance(found, Mapping) or len(stages) < 2:
            raise AssertionError(f"{block.place}: {together}") from together
        for alternative in _alone(stages):
            try:
                _check({**AROUND, "stages": alternative}, folder)
            except Exception as error:
                raise AssertionError(f"{block.place}: {error}; all stages together: {together}") from together


def _check(recipe: Mapping[str, Any], folder: Path) -> None:
    """What `tfopt validate --quick` checks."""
    file = folder / "part.yaml"
    with file.open("w") as out:
        YAML().dump(dict(recipe), out)
    Recipe.load(file).chain()


def _alone(stages: list[Any]) -> Iterator[list[Any]]:
    """Each stage with what it takes before it."""
    for stage in stages:
        kind = stage if isinstance(stage, str) else next(iter(stage))
        before = [] if known_stages()[kind].takes == "keras" else [{"quantize": {}}]
        yield _from_a_model([*before, stage])


def _from_a_model(stages: list[Any]) -> list[Any]:
    """The stages, with one that trains before them where they speak of one."""
    return [TRAIN, *stages] if "train" not in [_name(stage) for stage in stages] else stages


def _name(stage: Any) -> str:
    [(kind, settings)] = stage.items() if isinstance(stage, Mapping) else [(stage, None)]
    return (settings or {}).get("name", kind)

"""What the results of a run come from, as its folder records it: digests of its inputs beside the recipe."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tfopt.durable_files import sha256_of
from tfopt.errors import InputError
from tfopt.pipeline.plan import Plan
from tfopt.recipe.artifact import PROVENANCE, RECIPE, content_key
from tfopt.sealed_json import seal, unseal
from tfopt.user_code import Ref, digest_callable

# The record's field with the digest of the recipe's file.
PAIRED = "recipe_sha256"


def record_of(inputs: Mapping[str, Any], recipe: str) -> str:
    """The text of the record of a run that is done: what tells whether inputs are the same.

    Args:
        inputs: What `inputs_of` gave.
        recipe: The text of the recipe that is written beside it, of which it has a digest.
    """
    return seal({**inputs, PAIRED: hashlib.sha256(recipe.encode(errors="replace")).hexdigest()}, indent=2) + "\n"


def inputs_of(plan: Plan) -> dict[str, Any]:
    """Digests of all that the results of a run are made from, besides versions and the machine.

    Returns:
        The seed, digests of the model and of the data, one of loss and metrics, and one for each stage with its
        settings and the user's code that it calls.
    """
    recipe = plan.recipe
    stages = {}
    for step in plan.steps:
        stage = step.stage
        code = [Ref.parse(one, recipe.folder).digest() for one in stage.code() if isinstance(one, str | Mapping)]
        own = "" if type(stage).__module__.startswith("tfopt.") else digest_callable(type(stage))
        stages[step.name] = content_key(stage.kind, stage.settings(), step.parents, code, own)
    return {
        "seed": recipe.seed,
        "model": _model(plan),
        "data": plan.data_digest,
        "loss and metrics": content_key(*plan.judged_by),
        "stages": stages,
    }


def _model(plan: Plan) -> str:
    """A digest of the starting model; of an installed package's it is that of its name and version."""
    source = plan.model_source
    if not isinstance(source, Ref) or isinstance(source.target, Path):
        return content_key(plan.model_digest)
    package = source.target.partition(".")[0]
    with contextlib.suppress(PackageNotFoundError):
        return content_key(str(source), source.arguments, version(package))
    return content_key(plan.model_digest)


def recorded(folder: Path) -> dict[str, Any] | None:
    """The record in the folder of a run; None where there is none, or it is damaged."""
    try:
        return unseal((folder / PROVENANCE).read_bytes())
    except OSError:
        return None


def check_pair(folder: Path, record: Mapping[str, Any]) -> None:
    """Checks that the recipe in the folder of a run is the one that the record there was written with.

    Raises:
        InputError: It is another one, as where a run ended between the two files; a folder without recipe has no other.
    """
    recipe = folder / RECIPE
    if PAIRED in record and recipe.is_file() and sha256_of(recipe) != record[PAIRED]:
        raise InputError(
            f"{recipe} and {PROVENANCE} beside it are not of the same run, or one was edited. Run the recipe once "
            "more: tfopt run."
        )


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two records differ in, in words: `the data`, `the stage prune`."""
    found = ["the seed" if then.get("seed") != now["seed"] else ""]
    found += [f"the {name}" if then.get(name) != now[name] else "" for name in ("model", "data", "loss and metrics")]
    before = then.get("stages", {})
    found += [f"the stage {n}" for n in {**before, **now["stages"]} if before.get(n) != now["stages"].get(n)]
    return list(filter(None, found))

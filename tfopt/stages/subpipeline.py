"""Stages run one after the other inside of another stage, in a folder of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.progress import Progress
from tfopt.recipe.stage import Context, Stage


def run_stages(stages: Sequence[Stage], source: Artifact, context: Context, folder: Path, file: Path) -> Artifact:
    """Runs stages on an artifact; moves the last model file to `file` and removes what else they wrote.

    The outer stage scores the result, so that its metric decides. The warnings of the stages lie in a file beside it,
    which `warnings_of` reads: another process may have made it.

    Args:
        stages: The stages, each of which takes the result of the one before it.
        source: Artifact that the first stage takes.
        context: Context of the outer stage.
        folder: Working folder of the stages.
        file: Path for the final model file.

    Returns:
        The artifact of the last stage, or `source` where there are no stages.
    """
    artifact = source
    artifacts = {**context.artifacts, source.name: source}
    told: list[str] = []
    shutil.rmtree(folder, ignore_errors=True)
    for index, stage in enumerate(stages):
        own = folder / f"{index}-{stage.kind}"
        own.mkdir(parents=True)
        name = stage.name or stage.kind
        place = replace(context, name=name, folder=own, artifacts=artifacts)
        inner = replace(place, progress=Progress(), judged=True, tried=True, told=[])
        artifact = stage.run([artifact], inner)
        told += artifact.warnings
        artifacts[artifact.name] = artifact
    if not stages:
        return source
    _beside(file).unlink(missing_ok=True)
    if told:
        _beside(file).write_text(json.dumps(list(dict.fromkeys(told))))
    artifact.path.rename(file)
    shutil.rmtree(folder)
    return replace(artifact, folder=file.parent, file=file.name)


def warnings_of(file: Path) -> list[str]:
    """The warnings of the stages that made a file, each once; empty where there are none."""
    beside = _beside(file)
    return list(json.loads(beside.read_text())) if beside.is_file() else []


def _beside(file: Path) -> Path:
    return file.with_suffix(".warnings.json")

"""Stages run one after the other inside of another stage, in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.progress import Progress
from tfopt.recipe.stage import Context, Stage


def run_stages(stages: Sequence[Stage], source: Artifact, context: Context, folder: Path, file: Path) -> Artifact:
    """Runs stages from an artifact on; the model file of the last one is moved to `file`, what else they write goes.

    Args:
        stages: The stages, each on what the one before it made.
        source: What the first one works on.
        context: Of the stage that they run inside of.
        folder: Where they may write.
        file: Where the model goes.

    Returns:
        The artifact of the last one, or `source` where there is none.
    """
    artifact = source
    artifacts = {**context.artifacts, source.name: source}
    shutil.rmtree(folder, ignore_errors=True)
    for index, stage in enumerate(stages):
        own = folder / f"{index}-{stage.kind}"
        own.mkdir(parents=True)
        inner = replace(context, name=stage.name or stage.kind, folder=own, artifacts=artifacts, progress=Progress())
        artifact = stage.run([artifact], inner)
        artifacts[artifact.name] = artifact
    if not stages:
        return source
    artifact.path.rename(file)
    shutil.rmtree(folder)
    return replace(artifact, folder=file.parent, file=file.name)

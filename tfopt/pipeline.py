"""Running a recipe: lock its folder, reuse what is committed, run the rest. No word of any one stage in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.artifact import LOG, PARTIAL, Artifact, Workspace, content_key, storage_errors
from tfopt.errors import GateError, InputError, StorageError, TfoptError
from tfopt.noise import captured
from tfopt.recipe import SOURCE, Recipe, Step
from tfopt.reference import describe, digest_callable
from tfopt.stages.base import Context, Progress

if TYPE_CHECKING:
    from tfopt.data import Data


@dataclass(frozen=True)
class Result:
    """What a recipe came to.

    Args:
        artifacts: Every result by its stage's name, the source model first.
        reused: Names of the stages whose committed result was used.
        folder: Where all of it lies, with the reports.
    """

    artifacts: dict[str, Artifact]
    reused: tuple[str, ...]
    folder: Path

    @property
    def final(self) -> Artifact:
        """The last model file that was made, as its own stage left it."""
        made = [a for a in self.artifacts.values() if not a.files]
        return made[-1]

    @property
    def path(self) -> Path:
        """The last model file that was made."""
        return self.final.path

    @property
    def metrics(self) -> dict[str, float]:
        """All that was measured of that file, by its own stage and by those that looked at it after."""
        merged = dict(self.final.metrics)
        for artifact in self.artifacts.values():
            merged.update(artifact.files.get(self.final.name, {}))
        return merged


class Run:
    """One run of one recipe: the recipe's words resolved, its data and model loaded when they are first needed."""

    def __init__(self, recipe: Recipe, out: Path, progress: Progress):
        from tfopt import data, models

        self.recipe, self.progress = recipe, progress
        self.workspace = Workspace(out / recipe.name)
        self.steps = recipe.chain()
        try:
            self.model_source = models.resolve(recipe.model, recipe.folder)
            self.model_digest = models.digest(self.model_source)
        except InputError as error:
            raise recipe.located(type(error)(str(error), ("model",))) from error
        try:
            self.data_source = data.resolve(recipe.data, recipe.folder)
        except InputError as error:
            raise recipe.located(type(error)(str(error), ("data",))) from error

    @cached_property
    def raw_data(self) -> Data:
        """The data as it is loaded, checked for what no training survives."""
        from tfopt import data

        loaded = data.load(self.data_source)
        loaded.check()
        return loaded

    @cached_property
    def data(self) -> Data:
        """The data as the model takes it."""
        from tfopt import models

        return self.raw_data.fitted(models.inputs_of(self.model))

    @cached_property
    def model(self) -> Any:
        """The Keras model the recipe starts from."""
        from tfopt import models
        from tfopt.training import deterministic

        try:
            with deterministic(self.recipe.seed):
                return models.build(self.model_source, self.trust)
        except InputError as error:
            raise type(error)(str(error), error.field or ("model",)) from error

    @property
    def trust(self) -> bool:
        """A function is the user's own code already; a file is trusted on their word."""
        return self.recipe.trust or not isinstance(self.model_source, Path)

    def keys(self) -> dict[str, str]:
        """The content key of every step's result, known before any of them is made."""
        from tfopt import data

        recipe = self.recipe
        keys = {SOURCE: content_key(SOURCE, self.model_digest, recipe.seed, recipe.loss, recipe.metrics)}
        content = data.fingerprint(self.data_source, lambda: self.raw_data)
        for step in self.steps:
            stage = step.stage
            before = [keys[name] for name in (*step.parents, *stage.needs())]
            keys[step.name] = content_key(before, stage.kind, _version(stage), stage.settings(), recipe.seed, content)
        return keys

    def resolved(self) -> Recipe:
        """The recipe with its files' whole paths, which runs from anywhere on this machine."""
        from tfopt.reference import Ref, find_file

        data = f"npz:{self.data_source}" if isinstance(self.data_source, Path) else self.data_source
        changes: dict[str, Any] = {"data": str(data) if isinstance(data, Ref) else data}
        if isinstance(self.model_source, Path | Ref):
            changes["model"] = str(self.model_source)
        changes["use"] = tuple(str(find_file(file, self.recipe.folder)) for file in self.recipe.use)
        return self.recipe.model_copy(update=changes)

    def context(self, name: str, key: str, folder: Path, artifacts: Mapping[str, Artifact]) -> Context:
        """What the stage of that name is given."""
        from tfopt import models

        recipe = self.recipe
        return Context(
            name=name,
            key=key,
            folder=folder,
            data=self.data,
            seed=recipe.seed,
            loss=recipe.loss,
            metrics=recipe.metrics,
            artifacts=artifacts,
            progress=self.progress,
            custom_objects=models.custom_objects(self.model_source),
            trust=self.trust,
        )

    def check(self) -> None:
        """Everything that can be known to fail before any compute: the data, the model, each stage on them.

        Raises:
            InputError: One line, with file:line where the recipe came from a file.
        """
        located = self.recipe.located
        try:
            _ = self.raw_data
            _ = self.model
            context = self.context("check", "", Path(), {})
        except InputError as error:
            raise located(error) from error
        for step in self.steps:
            try:
                step.stage.check(self.model, context)
            except InputError as error:
                own = not error.field or error.field[0] in type(step.stage).model_fields
                raise located(error, step if own else None) from error

    def source(self, key: str) -> Artifact:
        """Commits the model the recipe starts from, so that every stage finds it in the same form."""
        from tfopt import models

        folder = self.workspace.begin(SOURCE, key)
        with storage_errors(folder):
            models.save(self.model, folder / "model.keras")
        artifact = Artifact(SOURCE, SOURCE, folder, "model.keras", "keras", key)
        return self.workspace.commit(artifact)

    def stage(self, step: Step, key: str, artifacts: Mapping[str, Artifact]) -> Artifact:
        """Runs one stage in its partial folder and commits what it returns."""
        start = time.monotonic()
        context = self.context(step.name, key, self.workspace.begin(step.name, key), artifacts)
        result = step.stage.run([artifacts[name] for name in step.parents], context)
        return self.workspace.commit(replace(result, seconds=time.monotonic() - start))


def run(
    recipe: Recipe | str | os.PathLike[str],
    out: str | os.PathLike[str] = "saved_models",
    progress: Progress | None = None,
) -> Result:
    """Runs a recipe, or what of it is not yet done.

    Results lie in `<out>/<recipe name>/<stage>`. Running again reuses every stage whose recipe, data, code and seed are
    the same; an interrupted training goes on after its last finished epoch. On one machine's CPU the result is the same
    to the byte, interrupted or not. Python's, NumPy's and TensorFlow's global seeds are set on the way.

    Args:
        recipe: A recipe, or the path of a YAML one.
        out: The folder for results.
        progress: Where to tell how far it is; nowhere if not given.

    Returns:
        The results; `result.path` is the final file and `result.metrics` what was measured of it.

    Raises:
        InputError: Something in the recipe, the model or the data cannot work; nothing was computed.
        GateError: A file is less accurate than the recipe allows; all files are there.
        TrainingError, ConversionError, StorageError: A stage failed; the stages before it are there.
    """
    from tfopt.report import files as report

    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    running = Run(recipe, Path(out).resolve(), progress or Progress())
    workspace = running.workspace
    try:
        with workspace.locked():
            result, failed = _fold(running)
            with storage_errors(workspace.root):
                (workspace.root / "recipe.yaml").write_text(running.resolved().to_yaml())
                report.write(result)
    except InputError:
        workspace.remove_if_empty()
        raise
    finally:
        running.progress.close()
    if failed:
        raise GateError(failed)
    return result


def validate(recipe: Recipe | str | os.PathLike[str]) -> list[Step]:
    """Checks all of a recipe that can be checked before any compute: its words, chain, model, data and patterns.

    Raises:
        InputError: One line for what is wrong.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    with captured():
        Run(recipe, Path(), Progress()).check()
    return recipe.chain()


def _fold(running: Run) -> tuple[Result, str | None]:
    workspace, progress, count = running.workspace, running.progress, len(running.steps)
    log = workspace.root / LOG
    with storage_errors(log):
        log.write_bytes(b"")
    with captured(log):
        try:
            keys = running.keys()
        except InputError as error:
            raise running.recipe.located(error) from error
    artifacts: dict[str, Artifact] = {}
    reused: list[str] = []
    checked = False
    for index, name in enumerate(keys):
        step = running.steps[index - 1] if index else None
        found = workspace.find(name, keys[name])
        if found is None and not checked:
            with captured(log):
                running.check()
            checked = True
        if found is not None and step:
            progress.reused(name, step.stage.kind, index, count)
            reused.append(name)
        elif found is None:
            if step:
                progress.stage(name, step.stage.kind, index, count)
            with captured(log), _told(name, log):
                found = running.stage(step, keys[name], artifacts) if step else running.source(keys[name])
            if step:
                progress.done(found)
        artifacts[name] = found
        if found.failed:
            return Result(artifacts, tuple(reused), workspace.root), found.failed
    return Result(artifacts, tuple(reused), workspace.root), None


@contextlib.contextmanager
def _told(name: str, log: Path) -> Iterator[None]:
    """Names the stage in whatever goes wrong in the block, and leaves the whole story of the unexpected in the log."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{name}: {error}", error.field) from error
    except TfoptError as error:
        told = type(error)(f"{name}: {error}")
        told.log = log
        raise told from error
    except OSError as error:
        raise StorageError(f"{name}: {error.strerror or error}. What was finished before is still there.") from error
    except Exception as error:
        traceback.print_exc()
        failure = TfoptError(f"{name} failed: {describe(error)}. The whole story is in {log}.")
        failure.log = log
        raise failure from error


def clean(recipe: Recipe, out: Path, partial_only: bool = False) -> list[Path]:
    """Removes a recipe's results, or only what an interrupted run left half-done.

    Returns:
        The folders that were removed.

    Raises:
        StorageError: A run holds the folder.
    """
    workspace = Workspace(out / recipe.name)
    if not workspace.root.is_dir():
        return []
    with workspace.locked(), storage_errors(workspace.root):
        doomed = [p for p in workspace.root.iterdir() if p.is_dir() and (p.suffix == PARTIAL or not partial_only)]
        for folder in doomed:
            shutil.rmtree(folder)
    if not partial_only:
        with storage_errors(workspace.root):
            shutil.rmtree(workspace.root)
        doomed = [workspace.root]
    return doomed


def _version(stage: Any) -> Any:
    """A built-in stage's version number; a user's own stage is known by its code too."""
    cls = type(stage)
    return stage.version if cls.__module__.startswith("tfopt.") else [stage.version, digest_callable(cls)]

"""Running a recipe: lock its folder, reuse what is committed, run the rest. It knows no stage by name."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfopt.durable_files import DAMAGED, remove, storage_errors, write_together
from tfopt.errors import GateError, InputError, InUseError, TfoptError, TfoptWarning
from tfopt.output_capture import captured
from tfopt.pipeline import baseline, provenance
from tfopt.pipeline.failures import disk_faults, named_failures
from tfopt.pipeline.joiner import share, wait_to_lead
from tfopt.pipeline.plan import Plan
from tfopt.pipeline.result import Result
from tfopt.recipe.artifact import (
    BASELINE,
    JOURNAL,
    LOG,
    PARTIAL,
    PROVENANCE,
    RECIPE,
    SOURCE,
    WORKERS,
    Artifact,
    content_key,
)
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe, Step
from tfopt.recipe.workspace import Workspace
from tfopt.search.tuning.roles import role_here
from tfopt.subprocesses import killed_after
from tfopt.training.cluster import cluster

# Time beyond `start_timeout` for TensorFlow itself to notice that the other workers did not start.
GRACE_SECONDS = 15
NOTHING_REMOVED = "Nothing was removed."


def run(
    recipe: Recipe | str | os.PathLike[str],
    out: str | os.PathLike[str] = "saved_models",
    progress: Progress | None = None,
    join: bool = False,
) -> Result:
    """Runs a recipe, or what of it is not yet done.

    Results lie in `<out>/<recipe name>/<stage>`. Running again reuses every stage whose recipe, data, code and seed are
    the same; an interrupted training goes on after its last finished epoch. On one machine's CPU the result is the same
    to the byte, interrupted or not. Python's, NumPy's and TensorFlow's global seeds are set on the way. Signals
    are the program's own: SIGTERM is a kill unless it has a handler, such as `signal.default_int_handler`.

    Args:
        recipe: A recipe, or the path of a YAML one.
        out: The folder for results.
        progress: Receives the progress of the run; None shows nothing.
        join: While another process runs the recipe in the same folder, take part in the stages whose work can be
            shared, until all is done; the one that runs it may die, and this one goes on in its place. It is implied
            where keras-tuner's environment variables name a chief and workers, of which the chief runs the stages.

    Returns:
        The results; `result.path` is the final file and `result.metrics` what was measured of it.

    Warns:
        TfoptWarning: A file is there and may be poor, such as one whose calibration samples are of another range than
            the model's inputs; `artifact.warnings` has the sentences.

    Raises:
        InputError: Something in the recipe, the model or the data cannot work; nothing was computed.
        GateError: A file is less accurate than the recipe allows; all files are there, and `error.result` has them.
        TrainingError, ConversionError, StorageError: A stage failed; the stages before it are there.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    try:
        with disk_faults():
            return _joined(recipe, out, progress) if join or role_here() else _run(recipe, out, progress)
    except TfoptError as error:
        error.in_cluster = recipe.runtime.strategy == "multi_worker"
        raise


def _joined(recipe: Recipe, out: str | os.PathLike[str], progress: Progress | None) -> Result:
    """Runs the recipe, or shares in the work of the process that does until the folder is free, and all is there."""
    shared = False
    with captured():
        plan = Plan(recipe, Path(out).resolve(), progress or Progress())
        keys = plan.keys()
    while True:
        try:
            if role_here() == "worker":
                wait_to_lead(plan, keys)
            result = _run(recipe, out, progress, announce=not shared)
            return replace(result, leads=not shared or len(result.reused) < len(plan.steps))
        except InUseError:
            shared = True
            with _own_log(plan.workspace.root / WORKERS / uuid.uuid4().hex[:12], "the shared work"):
                share(plan, keys)


def _run(recipe: Recipe, out: str | os.PathLike[str], progress: Progress | None, announce: bool = True) -> Result:
    progress = progress or Progress()
    if announce and recipe.runtime.strategy != "multi_worker":
        progress.checking()
    try:
        result = _made(recipe, Path(out).resolve(), progress, announce)
    finally:
        progress.close()
    if not result.leads:
        return result
    for name, artifact in result.artifacts.items():
        for sentence in artifact.warnings:
            warnings.warn(f"{name}: {sentence}", TfoptWarning, stacklevel=3)
    if failures := [artifact.failed for artifact in result.artifacts.values() if artifact.failed]:
        raise GateError(" ".join(failures), result.artifacts, result.folder, result)
    return result


def _made(recipe: Recipe, out: Path, progress: Progress, announce: bool) -> Result:
    from tfopt.report import summary as report

    with captured() as printed:  # a model that is a module is looked up, which may import packages
        plan = Plan(recipe, out, progress)
    if recipe.runtime.strategy == "multi_worker":
        seconds = recipe.runtime.start_timeout
        late = f"the other workers of TF_CONFIG did not all start within {seconds:g} s, or cannot be reached."
        with captured():
            plan.check_plain_data()
        with killed_after(seconds + GRACE_SECONDS, late), captured():
            plan.start()
    workspace = plan.workspace
    if plan.devices and not plan.devices.leads:
        return _follow(plan)
    with workspace.locked():
        try:
            result, inputs = _fold(plan, announce, recipe.printed + printed.text())
        except (InputError, KeyboardInterrupt):
            workspace.remove_if_empty()
            raise
        text = plan.resolved().to_yaml()
        with storage_errors(workspace.root):
            record = provenance.record_of(inputs, text)
            write_together({workspace.root / RECIPE: text, workspace.root / PROVENANCE: record})
            report.write(result.artifacts, result.folder)
        progress.finished(result.artifacts)
    return result


def _follow(plan: Plan) -> Result:
    from tfopt.pipeline.follower import follow

    addresses, rank = cluster()
    with _own_log(plan.own_workspace.root, f"worker {rank}"):
        return Result(follow(plan, addresses[0]), (), plan.workspace.root, leads=False)


@contextlib.contextmanager
def _own_log(folder: Path, name: str) -> Iterator[None]:
    """A log of its own for a process that does not hold the folder; it is removed where the block succeeds."""
    log = folder / LOG
    folder.mkdir(parents=True, exist_ok=True)
    with captured(log), named_failures(name, log):
        yield
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # the last one takes the folder around them away
        folder.parent.rmdir()


def validate(recipe: Recipe | str | os.PathLike[str]) -> list[Step]:
    """Checks all of a recipe that can be checked before any compute: settings, chain, model, data and layer patterns.

    Returns:
        The steps of the recipe.

    Raises:
        InputError: The recipe cannot run; the message is one line.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    with captured():
        plan = Plan(recipe, Path(), Progress())
        plan.check_plain_data()
        plan.check()
    return recipe.chain()


def _fold(plan: Plan, announce: bool, printed: str) -> tuple[Result, dict[str, Any]]:
    """Runs what is not there yet; returns the digests of what it is made from, too.

    Args:
        plan: The plan.
        announce: Whether reused results are announced.
        printed: What the user's code has printed up to here, for the log.
    """
    workspace, progress, count = plan.workspace, plan.progress, len(plan.steps)
    log = workspace.root / LOG
    with captured() as early:
        try:
            keys, inputs = plan.keys(), provenance.inputs_of(plan)
        except InputError as error:
            raise plan.recipe.located(error) from error
    progress.started(plan.recipe.name, plan.told(), content_key(keys), workspace.root)
    artifacts: dict[str, Artifact] = {}
    reused: list[str] = []
    checked = False
    for index, name in enumerate(keys):
        step = plan.steps[index - 1] if index else None
        found = workspace.find(name, keys[name])
        if found and found.files and step and not {*step.parents} <= {*reused, SOURCE}:
            found = None  # what it measured was damaged or moved away, and is made again
        if found is None and not checked:
            progress.checking()
            with storage_errors(log):
                log.unlink(missing_ok=True)  # a run that has nothing to do keeps the log of the last one
                log.write_text(printed + early.text())
            with captured(log):
                plan.check_plain_data()
                plan.start()
                plan.check()
            checked = True
        if found is not None and step:
            if announce:
                progress.reused(name, step.stage.kind, index, count)
            reused.append(name)
        elif found is None:
            if step:
                progress.stage(name, step.stage.kind, index, count)
            with captured(log), named_failures(name, log):
                found = plan.stage(step, keys[name], artifacts) if step else plan.source(keys[name])
            if step:
                progress.done(found)
        artifacts[name] = found
    before = _baseline(plan, keys, artifacts)
    made = {SOURCE: artifacts[SOURCE], BASELINE: before, **artifacts}
    return Result(made, tuple(reused), workspace.root), inputs


def _baseline(plan: Plan, keys: Mapping[str, str], artifacts: Mapping[str, Artifact]) -> Artifact:
    """The baseline of the run, measured once all results are there: what stages have measured is not repeated."""
    key = baseline.key(plan, keys)
    if known := baseline.found(plan, key):
        return known
    plan.progress.measuring(baseline.starting_point(plan))
    log = plan.workspace.root / LOG
    with captured(log), named_failures(BASELINE, log):
        plan.start()
        found = baseline.measure(plan, key, artifacts)
    plan.progress.done(found)
    return found


def clean(recipe: Recipe, out: Path, partial_only: bool = False) -> list[Path]:
    """Removes a recipe's results, as `clean_folder` does those of their folder."""
    return clean_folder(out / recipe.name, partial_only)


def clean_folder(folder: Path, partial_only: bool = False, agreed: Callable[[], bool] = lambda: True) -> list[Path]:
    """Removes the results of a run, or only what it left half-done when it was interrupted.

    Args:
        folder: The run's folder.
        partial_only: Keep what is finished.
        agreed: Asked while no other process can use the folder; nothing is removed where it is false.

    Returns:
        The folders that were removed.

    Raises:
        InputError: The folder holds anything but a run.
        InUseError: A run holds the folder.
        StorageError: The folder cannot be written.
    """
    workspace = Workspace(folder)
    if not workspace.root.is_dir():
        return []
    if not workspace.is_run:
        raise InputError(
            f"{folder} is not the folder of a run. Name a recipe, or a folder such as saved_models/digits."
        )
    with workspace.locked(NOTHING_REMOVED):
        return _removed(workspace, partial_only) if agreed() else []


def _removed(workspace: Workspace, partial_only: bool) -> list[Path]:
    with storage_errors(workspace.root, "The rest is still there."):
        if not partial_only:
            shutil.rmtree(workspace.root)
            return [workspace.root]
        half = [path for path in workspace.root.iterdir() if path.suffix == PARTIAL]
        doomed = [*half, *workspace.root.glob(WORKERS)]
        for folder in doomed:
            remove(folder)
        for journal in (*workspace.root.glob(f"*{JOURNAL}"), *workspace.root.glob(f"*{JOURNAL}{DAMAGED}")):
            if not (workspace.root / journal.name.removesuffix(DAMAGED).removesuffix(JOURNAL)).is_dir():
                journal.unlink()
                doomed.append(journal)
    return doomed

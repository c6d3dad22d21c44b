"""The baseline of a run: the model that it starts from, measured so that every result is compared with it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tfopt.errors import MACHINE_FAULTS, TfoptError
from tfopt.pipeline.plan import Plan
from tfopt.recipe.artifact import BASELINE, SOURCE, Artifact, Skipped, content_key
from tfopt.recipe.details.verification import AccuracyGate
from tfopt.recipe.recipe import Step
from tfopt.recipe.stage import Context, Stage
from tfopt.stages.quantize import Quantize
from tfopt.user_code import describe

# To raise when what is measured of a baseline changes.
VERSION = 2
LATENCY = "latency_median_seconds"


def starting_point(plan: Plan) -> str:
    """The name of the result that a run starts from.

    It is the source model, where that is a file or the recipe does not begin with training it. Of a fresh model it is
    what the leading stages that train it, choose its hyperparameters or replace its head make of it; so too of a file
    whose head is replaced, as its own answers are others.
    """
    before, replaced = SOURCE, False
    for step in plan.steps:
        if step.parents != (before,) or not step.stage.prepares:
            break
        before, replaced = step.name, replaced or step.stage.replaces_outputs
    return SOURCE if isinstance(plan.model_source, Path) and not replaced else before


def key(plan: Plan, keys: Mapping[str, str]) -> str:
    """The content key of a run's baseline.

    Args:
        plan: The plan of the recipe.
        keys: Content key of every result, by the name of its stage.
    """
    stage = _measuring(plan)
    measured = (
        [stage.kind, type(stage).version, stage.settings(), stage.surroundings()] if stage else [_makes_file(plan)]
    )
    of = keys[starting_point(plan)]
    return content_key(BASELINE, VERSION, of, measured, *plan.judged_by, plan.recipe.seed, plan.data_digest)


def found(plan: Plan, own_key: str) -> Artifact | None:
    """The baseline that an earlier run measured in full; None where there is none."""
    known = plan.workspace.find(BASELINE, own_key)
    return None if known is None or known.skipped else known


def measure(plan: Plan, own_key: str, artifacts: Mapping[str, Artifact]) -> Artifact:
    """Measures and commits the baseline: its scores, and where the recipe makes files, its float32 file.

    That file is timed where the recipe times files; else it has its sizes alone.

    What stages have measured already is taken from them. What cannot be measured is left out, with the reason.
    `found` does not take such a baseline for a result, so that the next run tries again.

    Args:
        plan: The plan of the recipe.
        own_key: The content key of the baseline.
        artifacts: Every result of the run by its stage's name.

    Raises:
        StorageError: The folder cannot be written.
    """
    start = time.monotonic()
    parent = artifacts[starting_point(plan)]
    context = plan.context(BASELINE, own_key, plan.workspace.begin(BASELINE, own_key), artifacts)
    left: list[Skipped] = []
    figures = {name: parent.metrics[name] for name in (*parent.scores, "sparsity") if name in parent.metrics}
    scores = parent.scores
    if not scores:
        with _optional(left, "scores"):
            measured = _scores(parent, context)
            figures, scores = figures | measured, tuple(measured)
    stage = _measuring(plan)
    if stage or _makes_file(plan):
        with _optional(left, "float32 file"):
            figures = {**_of_float_file(plan, parent, stage, context), **figures}
    made = Artifact(
        BASELINE,
        BASELINE,
        context.folder,
        f"../{parent.name}/{parent.file}",
        parent.format,
        own_key,
        (parent.name,),
        metrics=figures,
        scores=scores,
        files={parent.name: figures},
        skipped=tuple(left),
        made_from={parent.name: parent.key},
    )
    return plan.workspace.commit(replace(made, seconds=time.monotonic() - start))


def _measuring(plan: Plan) -> Stage | None:
    """The last stage of the recipe that takes figures of files besides their scores."""
    able = [step.stage for step in plan.steps if type(step.stage).measure is not Stage.measure]
    return able[-1] if able else None


def _makes_file(plan: Plan) -> bool:
    """Whether a stage of the recipe makes a `.tflite`."""
    return any(step.stage.gives == "tflite" and step.stage.takes != "tflite" for step in plan.steps)


def _scores(parent: Artifact, context: Context) -> dict[str, float]:
    from tfopt.stages.scoring import test_metrics

    for artifact in context.artifacts.values():
        gate = artifact.details.of(AccuracyGate)
        if gate and parent.name in gate.models:  # a stage has run the model over the same samples
            return gate.models[parent.name]
    return test_metrics(context.read(parent), context)


def _of_float_file(plan: Plan, parent: Artifact, stage: Stage | None, context: Context) -> dict[str, float]:
    """The figures of the float32 file, of the one that the recipe makes, if it does; without a stage its sizes."""
    from tfopt.tflite.benchmark import sizes

    def measured(file: Path) -> dict[str, float]:
        return stage.measure(file, context) if stage else sizes(file)

    convert = Quantize.model_validate({"mode": "float32"})
    if same := _same_file(plan.steps, parent, convert):
        file = context.artifacts[same.name]
        for artifact in reversed(list(context.artifacts.values())):
            if LATENCY in artifact.files.get(same.name, {}):
                figures = artifact.files[same.name]
                return {name: value for name, value in figures.items() if name not in artifact.scores}
        return measured(file.path)
    file = convert.run([parent], context)
    try:
        return measured(file.path)
    finally:
        file.path.unlink()


def _same_file(steps: list[Step], parent: Artifact, convert: Quantize) -> Step | None:
    """The step of the recipe that makes this very file of the model."""
    for step in steps:
        kind, settings = step.stage.kind, step.stage.settings()
        if step.parents == (parent.name,) and (kind, settings) == (convert.kind, convert.settings()):
            return step
    return None


def _known_failures() -> tuple[type[Exception], ...]:
    """What a metric or a model of a user's own, TensorFlow and LiteRT raise; anything else is a mistake in tfopt."""
    from tensorflow.errors import OpError

    return TfoptError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, OpError


@contextlib.contextmanager
def _optional(left: list[Skipped], what: str) -> Iterator[None]:
    """A measurement that a run can do without: where it fails, its reason is kept until the next run."""
    try:
        yield
    except MACHINE_FAULTS:
        raise
    except _known_failures() as error:
        left.append(Skipped(what, str(error) if isinstance(error, TfoptError) else describe(error)))

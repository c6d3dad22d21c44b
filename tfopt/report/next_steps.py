"""What to try where a gate failed: the stage that lost most, and what would lose less there, with this run's values."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import AccuracySteps
from tfopt.recipe.details.verification import GatedFile
from tfopt.report.baseline import change
from tfopt.report.blocks import Code, Text
from tfopt.report.gate_advice import remedy_of, shares
from tfopt.report.recipe_file import settings_of, written_data

Advice = Callable[[Artifact, Mapping[str, Any]], list[Text]]
# What a recipe's data is called where it is more than one word.
ANY_DATA = "DATA"


def after_gate(
    name: str, file: GatedFile, metric: str, max_drop: float, artifacts: Mapping[str, Artifact]
) -> list[Text]:
    """What a file lost where, and what to try.

    Args:
        name: Name of the stage that made the file.
        file: What the gate compared.
        metric: The gate's metric.
        max_drop: How much worse the file may be.
        artifacts: The artifacts of the run.
    """
    if name not in artifacts:
        return []
    said: list[Text] = []
    stage = artifacts[name]
    losses = _losses(name, file, metric, artifacts)
    if losses:
        worst = max(losses, key=lambda each: losses[each][0])
        stage = artifacts[worst]
        parts = ", ".join(f"{each} {change(metric, difference)}" for each, (_, difference) in losses.items())
        said.append(f"Where {name} lost it: {parts}. Most of it goes with {worst}.")
    used = shares(name, metric, max_drop, {each: lost for each, (lost, _) in losses.items()})
    return [*said, *remedy_of(artifacts[name]), *used, *_steps(stage, artifacts, max_drop)]


def after_search(artifact: Artifact) -> list[Text]:
    """What to try where a stage looked for a file that keeps the metric, and found none."""
    return _searched(artifact) if _tried(artifact) else []


def _steps(stage: Artifact, artifacts: Mapping[str, Artifact], max_drop: float) -> list[Text]:
    if found := _tried(stage):
        return [*found, *_more_bits(stage)]
    settings = settings_of(stage)
    advice = ADVICE.get(stage.kind)
    if advice:
        return advice(stage, settings)
    wanted = settings.get("max_drop")
    limit = f"{max_drop or 0.01:g}"
    kept: list[Text] = []
    if wanted is None and settings.get("mode", "int8") == "int8":
        own = Code(f"max_drop: {limit}")
        kept = [("Try ", own, f" in {stage.name}: as few layers as it takes stay in higher precision.")]
    return [*kept, *_more_bits(stage), *_sensitivity(artifacts.get(_parent(stage)), stage, "")]


def _searched(stage: Artifact) -> list[Text]:
    return [*_tried(stage), *_more_bits(stage)]


def _tried(artifact: Artifact) -> list[Text]:
    """How many files a stage tried in vain."""
    tried = artifact.details.of(AccuracySteps)
    if not tried or not tried.steps:
        return []
    best = min(tried.steps, key=lambda step: step.drop)
    said = f"{artifact.name} tried {len(tried.steps)} file{'s' if len(tried.steps) > 1 else ''}"
    return [f"{said}; the best, {best.what}, has {best.score:.4f} on the validation split."]


def _more_bits(stage: Artifact) -> list[Text]:
    return [
        ("Try ", Code("qat: auto"), f" in {stage.name}, or a stage ", Code("qat"), " before it: training on the grid."),
        ("Try a mode with more bits in ", f"{stage.name}: ", Code("mode: int16x8"), " or ", Code("mode: float16"), "."),
    ]


def _pruned(stage: Artifact, settings: Mapping[str, Any]) -> list[Text]:
    sparsity = stage.metrics.get("sparsity", settings.get("sparsity"))
    lower = f" than {sparsity:.2g}" if isinstance(sparsity, int | float) else ""
    what = (f"{lower} in {stage.name}, or more ", Code("epochs"), _longer(settings))
    return [("Try a lower ", Code("sparsity"), *what), *_sensitivity(stage, stage, " --prune", _parent(stage))]


def _longer(settings: Mapping[str, Any]) -> str:
    epochs = settings.get("epochs")
    return f"{f' than {epochs}' if epochs else ''} to recover in."


def _trained(stage: Artifact, settings: Mapping[str, Any], what: str) -> list[Text]:
    return [(f"Try {what} in {stage.name}, or more ", Code("epochs"), _longer(settings))]


def _sensitivity(model: Artifact | None, stage: Artifact, option: str, parent: str = "") -> list[Text]:
    """The command that ranks the layers of the Keras model that a stage took."""
    taken = parent or (model.name if model else "")
    if not taken:
        return []
    run = stage.folder.parent
    own = model.file if model and not parent else "model.keras"
    data = written_data(run) or ANY_DATA
    path = "/".join(filter(None, (run.parent.name, run.name, taken, own)))
    command = f"tfopt sensitivity {shlex.quote(path)}{option} --data "
    tells = "which layers bear it, and writes the rules" if option else "which layers lose most"
    return [(Code(command + (data if data == ANY_DATA else shlex.quote(data))), f" shows {tells}.")]


def _parent(stage: Artifact) -> str:
    return stage.parents[0] if stage.parents else ""


def _losses(
    name: str, file: GatedFile, metric: str, artifacts: Mapping[str, Artifact]
) -> dict[str, tuple[float, float]]:
    """What each stage between the compared model and the file lost of the metric, and its change, in their order."""
    way, at = [name], artifacts[name]
    while at.parents and at.name != file.baseline and at.parents[0] in artifacts:
        at = artifacts[at.parents[0]]
        way.insert(0, at.name)
    scores = {file.baseline: file.before, name: file.after}
    scores |= {each: artifacts[each].metrics[metric] for each in way[1:-1] if metric in artifacts[each].metrics}
    known = [each for each in way if each in scores]
    sign = -1 if (file.before - file.after) * file.drop < 0 else 1
    differences = {after: scores[after] - scores[before] for before, after in itertools.pairwise(known)}
    return {each: (-sign * difference, difference) for each, difference in differences.items()}


# What to try where most of the loss comes from a stage of a kind; all others quantize.
ADVICE: Mapping[str, Advice] = {
    "prune": _pruned,
    "prune_channels": lambda stage, settings: _trained(stage, settings, "to remove less"),
    "cluster": lambda stage, settings: _trained(stage, settings, "more shared values"),
    "qat": lambda stage, settings: _trained(stage, settings, "a smaller learning rate"),
    "search": lambda stage, settings: [f"Try a larger budget, more trials, or more epochs in {stage.name}."],
    "tune": lambda stage, settings: [f"Try more trials, or a wider space in {stage.name}."],
}

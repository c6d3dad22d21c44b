"""Section on accuracy gates: the files and their drops; where one failed, which stage lost it, and what to try next."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import AccuracySteps
from tfopt.recipe.details.verification import AccuracyGate, GatedFile
from tfopt.report.blocks import Block, Bullets, Callout, Code, Heading, Paragraph, Table, Text
from tfopt.report.gate_advice import remedy_of, shares
from tfopt.report.section import Section

HEADERS = ("file", "metric", "of", "before", "on LiteRT", "drop", "allowed", "")
# What to try where most of the loss comes from a stage of a kind.
NEXT: Mapping[str, tuple[Text, ...]] = {
    "prune": (
        ("a lower ", Code("sparsity"), ", or more ", Code("epochs"), " to recover in"),
        (Code("tfopt sensitivity MODEL --prune --data ..."), " shows which layers bear it, and writes the rules"),
    ),
    "prune_channels": (("less to remove, or more ", Code("epochs"), " to recover in"),),
    "cluster": ("more shared values, or more epochs to recover in",),
    "qat": (("more ", Code("epochs"), ", or a smaller learning rate"),),
    "search": ("a larger budget, more trials, or more epochs",),
    "tune": ("more trials, or a wider space",),
}
SEARCHED: tuple[Text, ...] = (
    ("training on the grid: ", Code("qat: auto"), " in the stage, or a stage ", Code("qat"), " before it"),
    ("a mode with more bits: ", Code("mode: int16x8"), " or ", Code("mode: float16")),
)
PLAIN: tuple[Text, ...] = (
    (
        Code("max_drop"),
        " in the quantize stage: as few layers as it takes stay in higher precision",
    ),
    *SEARCHED,
    (Code("tfopt sensitivity MODEL --data ..."), " shows which layers lose most"),
)


def blocks(artifacts: Mapping[str, Artifact]) -> list[Block]:
    """The gates of all stages, and what follows from those that failed."""
    found: list[Block] = []
    for artifact in artifacts.values():
        if artifact.failed:
            found.append(Callout("failure", f"{artifact.name}: {artifact.failed}"))
        gate = artifact.details.of(AccuracyGate)
        if gate and gate.max_drop is not None:
            table = Table(HEADERS, [_cells(gate, name, file) for name, file in gate.files.items()], left=3)
            found += [Heading(f"{artifact.name}: the gate"), table]
            found += [block for name in gate.failed for block in _next(name, gate, artifacts)]
        elif artifact.failed:
            found += _tried(artifact)
    return found


def _cells(gate: AccuracyGate, name: str, file: GatedFile) -> tuple[str, ...]:
    figures = (f"{file.before:.4f}", f"{file.after:.4f}", f"{file.drop:+.4f}", f"{gate.max_drop:g}")
    return (name, gate.metric, file.baseline, *figures, "failed" if name in gate.failed else "kept")


def _next(name: str, gate: AccuracyGate, artifacts: Mapping[str, Artifact]) -> list[Block]:
    """The stage that lost most of the metric of a file, and what to try there."""
    if name not in artifacts:
        return []
    losses = _losses(name, gate.files[name], gate.metric, artifacts)
    said: list[Block] = []
    stage = artifacts[name]
    if losses:
        worst = max(losses, key=lambda stage: losses[stage])
        stage = artifacts[worst]
        parts = ", ".join(f"{each} {lost:+.4f}" for each, lost in losses.items())
        said.append(Paragraph(f"Where {name} lost it: {parts}. Most of it goes with {worst}."))
    first = [*remedy_of(artifacts[name]), *shares(name, gate, losses)]
    tried = stage.details.of(AccuracySteps)
    if tried and tried.steps:
        said += [*_tried(stage), Bullets([*first, *SEARCHED])]
    else:
        said += [Paragraph("What to try next:"), Bullets([*first, *NEXT.get(stage.kind, PLAIN)])]
    return said


def _tried(artifact: Artifact) -> list[Block]:
    """How many files a stage tried in vain."""
    tried = artifact.details.of(AccuracySteps)
    if not tried or not tried.steps:
        return []
    best = min(tried.steps, key=lambda step: step.drop)
    said = f"{artifact.name} tried {len(tried.steps)} files; the drop of the best, {best.what}, is {best.drop:+.4f}."
    return [Paragraph(f"{said} What to try next:")]


def _losses(name: str, file: GatedFile, metric: str, artifacts: Mapping[str, Artifact]) -> dict[str, float]:
    """What each stage between the compared model and the file lost of the metric, in their order."""
    way, at = [name], artifacts[name]
    while at.parents and at.name != file.baseline and at.parents[0] in artifacts:
        at = artifacts[at.parents[0]]
        way.insert(0, at.name)
    scores = {file.baseline: file.before, name: file.after}
    scores |= {each: artifacts[each].metrics[metric] for each in way[1:-1] if metric in artifacts[each].metrics}
    known = [each for each in way if each in scores]
    sign = -1 if (file.before - file.after) * file.drop < 0 else 1
    return {after: sign * (scores[before] - scores[after]) for before, after in itertools.pairwise(known)}


SECTION = Section("gates", "The gate", rank=5, of_run=blocks)

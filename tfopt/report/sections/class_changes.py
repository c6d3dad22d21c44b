"""Section on what changed class: how many samples, from which class to which, and the samples themselves."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from tfopt.data.preview import Preview
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import ChangedSample, ClassChanges, OutputChanges
from tfopt.report.blocks import (
    Block,
    Gallery,
    Grid,
    Group,
    Heading,
    OnPage,
    Paragraph,
    Strong,
    Table,
    Thumbnail,
)
from tfopt.report.confusion import DRAWN, confusion, each_output
from tfopt.report.section import Section
from tfopt.report.units import share

MOVES = ("from class", "to class", "count")
# Moves that are listed.
LISTED = 12


def blocks(artifact: Artifact) -> list[Block]:
    """For each file how many samples changed class, the confusion matrices before and after, and the samples."""
    changes = artifact.details.of(ClassChanges)
    found: list[Block] = []
    inputs = {one.row: one.inputs for one in changes.shown} if changes else {}
    for name, each in each_output(changes.files if changes else {}):
        found += [Heading(f"{name}: what changed class"), Paragraph((Strong(_counted(each)), _verdict(each)))]
        if each.same == each.values:
            continue
        if each.moves:
            moves = [(str(one.before), str(one.after), f"{one.count:,}") for one in each.moves]
            found.append(Table(MOVES, moves, left=2, most=LISTED))
        if _draws(each):
            found.append(OnPage([Grid(_matrices(name, each))]))
        if each.samples:
            found.append(OnPage([Group(_samples(each, inputs))]))
    return found


def _counted(found: OutputChanges) -> str:
    same = f"{found.same:,} of {found.values:,} ({share(found.share)})"
    return f"Same class as {found.against} on {same} of the test split"


def _verdict(found: OutputChanges) -> str:
    changed = found.values - found.same
    if not changed:
        return "."
    parts = {
        "from right to wrong": found.broken,
        "from wrong to right": found.mended,
        "from wrong to wrong": changed - found.broken - found.mended,
    }
    return f"; {changed:,} changed: {', '.join(f'{count:,} {word}' for word, count in parts.items() if count)}."


def drawn(artifact: Artifact) -> set[str]:
    """The names of the files, and outputs, whose confusion matrices this section draws, before and after."""
    changes = artifact.details.of(ClassChanges)
    return {name for name, found in each_output(changes.files if changes else {}) if _draws(found)}


def _draws(found: OutputChanges) -> bool:
    return bool(found.confusion_before) and found.same < found.values and len(found.classes) <= DRAWN


def _matrices(name: str, found: OutputChanges) -> list[Block]:
    models = ((found.against, found.confusion_before), (name, found.confusion_after))
    return [confusion(model, found.classes, counts) for model, counts in models]


def _samples(found: OutputChanges, inputs: Mapping[int, Mapping[str, Preview]]) -> list[Block]:
    changed = found.values - found.same
    which = "All" if len(found.samples) == changed else f"{len(found.samples)} of the {changed:,}"
    first = ", those first that were right before" if found.broken and found.broken < changed else ""
    thumbnails = [one for sample in found.samples for one in _thumbnails(sample, found, inputs.get(sample.row, {}))]
    return [Paragraph(f"{which} that changed{first}:"), Gallery(thumbnails)]


def _thumbnails(sample: ChangedSample, found: OutputChanges, inputs: Mapping[str, Preview]) -> list[Thumbnail]:
    """A sample with its classes; of several inputs each is one, and the classes stand below the first.

    Bare numbers are left out where another input can be looked at.
    """
    lines = [
        f"{_classes(sample.before)} → {_classes(sample.after)}",
        f"is {_classes(sample.label)}; sample {sample.row:,}",
        *_sure(found.against, sample.before, sample.sure_before),
        *_sure("the file", sample.after, sample.sure_after),
    ]
    telling = {caption: one for caption, one in inputs.items() if one.kind != "numbers"} or inputs
    shown = list(telling.items()) or [("", Preview("text", f"sample {sample.row:,}"))]
    made = []
    for number, (caption, preview) in enumerate(shown):
        told = lines if not number else [f"{caption} of sample {sample.row:,}"]
        told = [caption, *told] if caption and not number and len(shown) > 1 else told
        picture = base64.b64decode(preview.content) if preview.kind == "image" else None
        text = f"sample {sample.row:,}, class {_classes(sample.label)}" if picture else preview.content
        made.append(Thumbnail(told, picture, text))
    return made


def _sure(model: str, classes: Sequence[int], probability: float | None) -> list[str]:
    return [] if probability is None else [f"{model}: {_classes(classes)} at {probability:.0%}"]


def _classes(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) or "none"


SECTION = Section("class_changes", "What changed class", rank=14, of_artifact=blocks)

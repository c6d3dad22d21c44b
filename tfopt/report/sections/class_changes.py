"""Section on what changed class: how many samples, from which class to which, and the samples themselves."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence

from tfopt.data.preview import Preview
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import ChangedSample, ClassChanges, OutputChanges
from tfopt.report.blocks import (
    Block,
    Folded,
    Gallery,
    Grid,
    Group,
    Heading,
    InMarkdown,
    OnPage,
    Paragraph,
    Strong,
    Table,
    Thumbnail,
    View,
)
from tfopt.report.confusion import DRAWN, confusion, each_output
from tfopt.report.section import Section
from tfopt.report.units import share

MOVES = ("from class", "to class", "count")
# Moves that are listed.
LISTED = 12


def blocks(artifact: Artifact) -> list[Block]:
    """For each file how many samples changed class, the samples, and the confusion matrices before and after.

    The last file comes first; on the page those before it are folded.
    """
    changes = artifact.details.of(ClassChanges)
    files = changes.files if changes else {}
    inputs = {one.row: one.inputs for one in changes.shown} if changes else {}
    found: list[Block] = []
    for number, (file, outputs) in enumerate(reversed(files.items())):
        for name, each in each_output({file: outputs}):
            heading, told = Heading(f"{name}: what changed class"), _told(name, each, inputs)
            found += [Folded(heading.text, [InMarkdown([heading]), *told])] if number else [heading, *told]
    return found


def _told(name: str, found: OutputChanges, inputs: Mapping[int, Mapping[str, Preview]]) -> list[Block]:
    """What there is to say of an output of a file."""
    said: list[Block] = [Paragraph((Strong(_counted(found)), _verdict(found)))]
    if found.same == found.values:
        return said
    if found.samples:
        said.append(OnPage([Group(_samples(found, inputs))]))
    if found.moves:
        moves = [(str(one.before), str(one.after), f"{one.count:,}") for one in found.moves]
        said.append(Table(MOVES, moves, left=2, most=LISTED))
    if _draws(found):
        said.append(OnPage([Grid(_matrices(name, found))]))
    return said


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
    cards = [_card(sample, found, inputs.get(sample.row, {})) for sample in found.samples]
    return [Paragraph(f"{which} that changed{first}:"), Gallery(cards)]


def _card(sample: ChangedSample, found: OutputChanges, inputs: Mapping[str, Preview]) -> Thumbnail:
    """A sample with its inputs and its classes; bare numbers are left out where another input can be looked at."""
    lines = [
        f"is {_classes(sample.label)}; sample {sample.row:,}",
        *_sure(found.against, sample.before, sample.sure_before),
        *_sure("the file", sample.after, sample.sure_after),
    ]
    telling = {name: one for name, one in inputs.items() if one.kind != "numbers"} or inputs
    views = [_view(name if len(telling) > 1 else "", one, sample) for name, one in telling.items()]
    views = views or [View("", None, f"sample {sample.row:,}")]
    return Thumbnail(f"{_classes(sample.before)} → {_classes(sample.after)}", lines, views)


def _view(name: str, preview: Preview, sample: ChangedSample) -> View:
    if preview.kind != "image":
        return View(name, None, preview.content)
    png = base64.b64decode(preview.content)
    blank = _is_black(png)
    text = f"{name or 'sample'} {sample.row:,}, class {_classes(sample.label)}{', all 0' if blank else ''}"
    return View(" ".join(filter(None, (name, "(all 0)" if blank else ""))), png, text)


def _is_black(png: bytes) -> bool:
    """Whether all values of a picture are 0, such as an input that a sample does not have."""
    at, content = 8, b""
    while at + 8 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        content += png[at + 8 : at + 8 + length] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    try:
        return not any(zlib.decompress(content))
    except zlib.error:
        return False


def _sure(model: str, classes: Sequence[int], probability: float | None) -> list[str]:
    return [] if probability is None else [f"{model}: {_classes(classes)} at {probability:.0%}"]


def _classes(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) or "none"


SECTION = Section("class_changes", "What changed class", rank=10, of_artifact=blocks)

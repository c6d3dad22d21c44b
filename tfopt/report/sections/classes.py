"""Section on single classes: precision, recall, F1 and the confusion matrix."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import ClassFigures, ClassScores
from tfopt.report.blocks import Block, Folded, Grid, Group, Heading, InMarkdown, OnPage, Paragraph, Table
from tfopt.report.confusion import DRAWN, confusion, each_output
from tfopt.report.section import Section
from tfopt.report.sections import class_changes

HEADERS = ("class", "precision", "recall", "F1", "test samples")
CONFUSED = ("class", "taken for", "samples", "of the class")
# Confused pairs that are listed.
PAIRS = 30
# Classes from which on the page folds their table.
FOLDED = 12


def blocks(artifact: Artifact) -> list[Block]:
    """Which class is taken for which; precision, recall and F1 of every class; for each scored file.

    The last file comes first; on the page those before it are folded.
    """
    scores = artifact.details.of(ClassScores)
    files = scores.files if scores else {}
    elsewhere = class_changes.drawn(artifact)  # beside those of the model that the file is held against
    shown: list[Block] = []
    for number, (file, outputs) in enumerate(reversed(files.items())):
        for name, each in each_output({file: outputs}):
            heading = Heading(f"{name}: class by class")
            table = Table(HEADERS, _rows(each), rest="report.md has all")
            many = len(each.classes) > FOLDED
            matrix = each.confusion and name not in elsewhere
            own: list[Block] = [Folded(f"{name}: {len(each.classes)} classes", [table]) if many else table]
            drawn: list[Block] = [OnPage([_confusion(name, each)])] if matrix else []
            told = Grid([*drawn, Group(own)])
            shown += [Folded(heading.text, [InMarkdown([heading]), told])] if number else [heading, told]
    return shown


def _rows(found: ClassFigures) -> list[tuple[str, ...]]:
    columns = zip(found.classes, found.precision, found.recall, found.f1, found.support, strict=True)
    return [
        (str(label), *(f"{share:.4f}" for share in (precision, recall, f1)), f"{support:,}")
        for label, precision, recall, f1, support in columns
    ]


def _confusion(name: str, found: ClassFigures) -> Block:
    """The confusion matrix; of many classes, or of hardly any errors, the most confused pairs as a table as well."""
    names = [str(label) for label in found.classes]
    pairs = sorted(
        (
            (count, row, column)
            for row, counts in enumerate(found.confusion)
            for column, count in enumerate(counts)
            if row != column and count
        ),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    rows = [
        (names[row], names[column], f"{count:,}", f"{count / max(sum(found.confusion[row]), 1):.1%}")
        for count, row, column in pairs
    ]
    if not rows:
        table: Block = Paragraph(f"{name}: no sample is taken for another class.")
    else:
        table = Table(CONFUSED, rows, left=2, caption=f"{name}: most confused", most=PAIRS)
    if len(names) > DRAWN:
        return Grid([table])
    return confusion(name, found.classes, found.confusion, _folded(table))


def _folded(table: Block) -> Table | None:
    return table if isinstance(table, Table) else None


SECTION = Section("classes", "Class by class", rank=12, of_artifact=blocks)

"""Section on files on several targets: one table that tells which file is best where."""

from __future__ import annotations

import math

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.device_files import FileOnTarget, FilesOnTargets
from tfopt.recipe.target import TARGETS
from tfopt.report.blocks import Block, Bullets, Heading, Strong, Table, Text
from tfopt.report.on_device import known, named, text, title
from tfopt.report.section import Section

Column = tuple[str, str]


def blocks(artifact: Artifact) -> list[Block]:
    """A row for each file and a column for each figure of each target, the best of each in bold."""
    found = artifact.details.of(FilesOnTargets)
    if not found or not found.rows:
        return []
    figures = {(row.file, row.target, name): value for row in found.rows for name, value in row.figures.items()}
    columns = _columns(found)
    names = list(dict.fromkeys(row.file for row in found.rows))
    partly = {(row.file, row.target) for row in found.rows if _partly(row)}
    whole = {column: [name for name in names if (name, column[0]) not in partly] for column in columns}
    best = {
        column: min(values)
        for column in columns
        if len(values := [figures[name, *column] for name in whole[column] if (name, *column) in figures]) > 1
    }

    def cell(name: str, column: Column) -> Text:
        value = figures.get((name, *column))
        if value is None:
            return "-"
        target, figure = column
        if (name, target) in partly:
            return f"{text(figure, value)} + CPU" if figure == _time(target) else text(figure, value)
        return Strong(text(figure, value)) if best.get(column) == value else text(figure, value)

    headers = ("file", *(f"{target}: {title(figure)}" for target, figure in columns))
    table = Table(headers, [(name, *(cell(name, column) for column in columns)) for name in names])
    said = [f"{target}: {'; '.join(told)}" for target, told in found.notes.items()]
    said += [f"{row.target} does not take {row.file}: {row.reason}" for row in found.rows if row.reason]
    said += [
        f"{row.file} on {row.target}: {row.figures['cpu_operators']:.0f} operators are left to the CPU, whose part is "
        "not in the figures"
        for row in found.rows
        if _partly(row)
    ]
    shown: list[Block] = [Heading(f"{artifact.name}: which file is best where"), table]
    return [*shown, Bullets(said)] if said else shown


def best_files(artifact: Artifact) -> list[str]:
    """The best file of each target, in the first of its figures, a line for each."""
    found = artifact.details.of(FilesOnTargets)
    if not found:
        return []
    lines = []
    for target, figures in _by_target(found).items():
        able = [row for row in found.rows if row.target == target and figures[0] in row.figures and not _partly(row)]
        if not able:
            lines.append(f"no file runs whole on {target}")
            continue
        best = min(able, key=lambda row: [row.figures.get(figure, math.inf) for figure in figures])
        lines.append(
            f"best on {named(target)}: {best.file}, {title(figures[0])} {text(figures[0], best.figures[figures[0]])}"
        )
    return lines


def _partly(row: FileOnTarget) -> bool:
    """Whether the CPU beside the target runs some of a file, so that its figures are of the rest alone."""
    return bool(row.figures.get("cpu_operators"))


def _time(target: str) -> str:
    return TARGETS[target].time if target in TARGETS else ""


def _columns(found: FilesOnTargets) -> list[Column]:
    """Each target with each of its figures that is shown."""
    targets = dict.fromkeys(row.target for row in found.rows)
    told: set[Column] = {(row.target, name) for row in found.rows for name in row.figures}
    figures = known()
    columns = [(target, name) for target in targets for name in figures if (target, name) in told]
    shown = [(target, name) for target, name in columns if figures[name].column]
    bare = [target for target in targets if target not in dict(shown)]
    return [*shown, *((target, name) for target, name in columns if target in bare)]


def _by_target(found: FilesOnTargets) -> dict[str, list[str]]:
    """The figures of each target, the most telling first."""
    figures: dict[str, list[str]] = {}
    for target, name in _columns(found):
        figures.setdefault(target, []).append(name)
    return figures


SECTION = Section("on_targets", "Which file is best where", rank=15, of_artifact=blocks)

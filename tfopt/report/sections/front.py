"""Section on a search: the Pareto front of files, the chosen one and why, and all that were tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import FrontFile, SearchOutcome, TriedCandidate
from tfopt.recipe.target import TARGETS
from tfopt.recipe.yaml_text import yaml_text
from tfopt.report.blocks import (
    Block,
    Bullets,
    Code,
    Figure,
    Grid,
    Group,
    Heading,
    Link,
    Listing,
    Paragraph,
    Strong,
    Table,
    Text,
)
from tfopt.report.charts import Key, Limit, Point, Scatter
from tfopt.report.on_device import text, title
from tfopt.report.section import Section
from tfopt.report.units import bytes_, duration

# Candidates that the chart draws besides those of the front, the best ones.
DRAWN = 500
# Distances from the best, in those of the middle one, beyond which a candidate is too far to be drawn.
FAR = 5


def blocks(artifact: Artifact) -> list[Block]:
    """The files of the front, which one was chosen and why, and what was tried."""
    found = artifact.details.of(SearchOutcome)
    if not found:
        return []
    metric = found.metric
    record = f"{artifact.name}/artifact.json"
    figures = list(_figures(found))
    headers = ("file", metric, "on the test split", *(name for name, _ in figures), "epochs")
    notes = [f"candidate {one.number} failed: {one.error}" for one in found.failed]
    notes += [f"lost with their process and begun again: {found.lost}"] if found.lost else []
    rows = [_cells(row, [cell(row) for _, cell in figures], row.number == found.chosen) for row in found.front]
    table = Table(headers, rows, rest=f"{record} has all")
    again = "The stages that make every other file of the front are in "
    trainings = _counted(len(found.tried), "training")
    said = [
        Paragraph(f"Chosen: {'; '.join(_reasons(found))}."),
        Paragraph(f"The model it starts from has {metric} {found.before:.4f} on the validation split."),
        Paragraph(f"{trainings}; {_counted(found.dropped, 'candidate')} over budget thrown away untrained."),
        *([Bullets(notes)] if notes else []),
        *_on_target(found),
        Paragraph((again, Link(record, record), " under ", Code("details.search.front"), ".")),
    ]
    return [
        Heading(f"{artifact.name}: the front"),
        Grid([*([_figure(found)] if found.tried else []), Group(said)]),
        table,
        *_made_by(found),
    ]


def _made_by(found: SearchOutcome) -> list[Block]:
    """The stages that made the chosen file, as a recipe writes them."""
    stages = [row.stages for row in found.front if row.number == found.chosen]
    if not stages:
        return []
    said = Paragraph("The stages that made the chosen file, to be written in a recipe in place of the search:")
    return [said, Listing(yaml_text({"stages": stages[0]}), "yaml")]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _figures(found: SearchOutcome) -> Iterator[tuple[str, Callable[[FrontFile], str]]]:
    """The columns of the table for what the files cost: their headings and their cells."""
    yield "raw", lambda row: bytes_(row.raw_bytes)
    if found.wish.size == "gzip" or "gzip_bytes" in found.limits or not found.wish.device_size:
        yield "gzip -9", lambda row: bytes_(row.gzip_bytes)
    measured = {name for row in found.front for name in row.device}
    target = TARGETS.get(found.wish.target)
    for name in target.figures if target else sorted(measured):
        if name in measured:
            yield title(name), partial(_on_device, name)
    if found.wish.time == "milliseconds":
        yield "latency", partial(_said, "milliseconds")


def _on_device(name: str, row: FrontFile | TriedCandidate) -> str:
    """A figure of the target, with its unit where its name has one; a dash where it was not measured."""
    return _said(name, row) if name in row.device else "-"


def _said(name: str, row: FrontFile | TriedCandidate) -> str:
    """A figure that a search goes by, with its unit."""
    value = row.figure(name)
    if name == "milliseconds":
        return duration(value / 1e3)
    return bytes_(value) if name in ("raw_bytes", "gzip_bytes") else text(name, value)


def _on_target(found: SearchOutcome) -> list[Block]:
    """Where the figures of the target come from."""
    target = TARGETS.get(found.wish.target)
    if not target or not any(row.device for row in found.front):
        return []
    whose = f": {target.source}" if target.source else ""
    return [Paragraph(f"Every file was measured for {target.about} (target {target.name}){whose}.")]


def _cells(row: FrontFile, figures: Sequence[str], chosen: bool) -> tuple[Text, ...]:
    name = Strong(row.file) if chosen else row.file
    test = ", ".join(f"{value:.4f}" for value in row.test.values())
    return (name, f"{row.score:.4f}", test, *figures, str(row.epochs))


def _reasons(found: SearchOutcome) -> list[str]:
    """The reasons for the chosen file."""
    wish, metric, rows = found.wish, found.metric, found.front
    limits = ", ".join(f"{name} {limit:,.6g}" for name, limit in found.limits.items())
    fitting = [row for row in rows if row.meets]
    if not fitting:
        return [f"no file of the front is within {limits}: it is the nearest"]
    best = {"accurate": f"the best {metric}", "smallest": f"the fewest {wish.size} bytes", "fastest": "the fastest"}
    said = [f"{best[wish.goal]} within {limits}, of {len(fitting)} such files on the front of {len(rows)}"]
    at = next(place for place, row in enumerate(rows) if row.number == found.chosen)
    for word, other in (("smaller", rows[at - 1 : at]), ("larger", rows[at + 1 : at + 2])):
        for row in other:
            out = "" if row.meets else ", which is not within them"
            size = _said(wish.size_name, row)
            figures = f"has {metric} {row.score:.4f} and takes {_said(wish.time, row)}"
            said.append(f"the next {word}, {size}, {figures}{out}")
    return said


def _edge(front: Sequence[FrontFile], size: str) -> list[FrontFile]:
    """The Pareto front in bytes and metric alone, the smallest first."""
    kept: list[FrontFile] = []
    for one in sorted(front, key=lambda one: (one.figure(size), one.drop)):
        if not kept or one.drop < kept[-1].drop:
            kept.append(one)
    return kept


def _figure(found: SearchOutcome) -> Figure:
    """Every file by its size and its metric, the larger the slower; the front as a line, the limits dashed."""
    wish, metric, size = found.wish, found.metric, found.wish.size_name
    on_front = {one.number for one in found.front}
    better = _direction(found)
    every = sorted((one for one in found.tried if one.number not in on_front), key=lambda one: -better * one.score)
    rest = _near(every, better)[:DRAWN]
    slowest = max(one.figure(wish.time) for one in found.tried) or 1.0

    def point(one: FrontFile | TriedCandidate, style: str) -> Point:
        said = (
            f"candidate {one.number}, {one.epochs} epochs: {metric} {one.score:.4f}, {bytes_(one.raw_bytes)}, "
            f"{bytes_(one.gzip_bytes)} gzip, {_said(wish.time, one)}"
        )
        return Point(one.figure(size), one.score, said, "", style, 3.5 + 4.5 * one.figure(wish.time) / slowest)

    points = [point(one, "faint") for one in rest] + [point(one, "s0") for one in found.front]
    points += [point(one, "chosen") for one in found.front if one.number == found.chosen]
    limits = [Limit("x", limit, bytes_(limit))] if (limit := found.limits.get(size)) else []
    if wish.max_drop is not None:
        limits.append(Limit("y", found.before - better * wish.max_drop, f"max_drop {wish.max_drop:g}"))
    chart = Scatter(
        f"{metric} against bytes of {len(found.tried)} files that were tried, {len(found.front)} of them on the front",
        points,
        f"bytes, {wish.size}",
        f"{metric} on the validation split",
        log_x=True,
        stairs=[[(one.figure(size), one.score) for one in _edge(found.front, size)]],
        limits=limits,
        keys=(Key("tried", "faint", line=False), Key("front", "s0"), Key("chosen", "chosen", line=False)),
    )
    left_out = f" The {len(every) - len(rest)} worst are left out." if len(rest) < len(every) else ""
    return Figure(chart, f"Each file by its size and {metric}; the larger the point, the slower the file.{left_out}")


def _near(ordered: Sequence[TriedCandidate], better: int) -> Sequence[TriedCandidate]:
    """The candidates without the few that are so bad that the axis would show nothing but them."""
    if not ordered:
        return ordered
    best, middle = better * ordered[0].score, better * ordered[len(ordered) // 2].score
    kept = [one for one in ordered if best - better * one.score <= FAR * (best - middle)]
    return kept if len(kept) >= 0.7 * len(ordered) else ordered


def _direction(found: SearchOutcome) -> int:
    """1 where a larger metric is the better one, else -1."""
    apart = [one for one in found.front if one.drop]
    return 1 if not apart or (found.before - apart[0].score) * apart[0].drop >= 0 else -1


SECTION = Section("front", "Search", rank=7, of_artifact=blocks)

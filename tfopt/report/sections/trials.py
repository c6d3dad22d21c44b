"""Section on a search for hyperparameters: its trials, the best ones, and the scores over the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.search import TuningOutcome, TuningTrial
from tfopt.report.blocks import Block, Bullets, Code, Figure, Folded, Heading, InMarkdown, OnPage, Paragraph, Table
from tfopt.report.charts import ParallelAxes, ParallelLine
from tfopt.report.section import Section

# Trials that are listed, and trials and hyperparameters that are drawn: the best, and the first that vary.
LISTED, DRAWN, AXES = 10, 300, 8


def blocks(artifact: Artifact) -> list[Block]:
    """The best trials of a stage that tuned, and those that failed."""
    found = artifact.details.of(TuningOutcome)
    if not found:
        return []
    names, metric = _names(found.trials), found.metric
    ordered = _ordered(found)
    rows = [
        (one.number, f"{score:.4f}", *(_cell(one.values.get(name, "-")) for name in names)) for score, one in ordered
    ]
    headers = ("trial", metric, *names)
    failed = [f"trial {one.number} failed: {one.message}" for one in found.trials if one.score is None]
    record = f"{artifact.name}/artifact.json has all"
    everything = [Folded("All trials", [Table(headers, rows, rest=record)])] if len(rows) > LISTED else []
    shown: list[Block] = [
        Heading(f"{artifact.name}: trials"),
        Paragraph((f"The best of {len(found.trials)}, with ", Code(metric), " on the validation split.")),
        *([_figure(found, names)] if ordered else []),
        Table(headers, rows[:LISTED]),
        OnPage(everything),
    ]
    return [*shown, *([Bullets(failed[:LISTED])] if failed else []), *_more(failed[LISTED:])]


def _more(failed: Sequence[str]) -> list[Block]:
    if not failed:
        return []
    return [OnPage([Folded(f"{len(failed)} more that failed", [Bullets(failed)])]), InMarkdown([Bullets(failed)])]


def _figure(found: TuningOutcome, names: Sequence[str]) -> Figure:
    """A line for each trial through its values and its score."""
    ordered = _ordered(found)
    drawn = ordered[:DRAWN]
    varying = [name for name in names if len({str(one.values.get(name)) for _, one in drawn}) > 1] or list(names)
    lines = []
    for place, (score, one) in enumerate(drawn):
        values = [one.values.get(name) for name in varying[:AXES]]
        said = ", ".join(f"{name} {_cell(value)}" for name, value in one.values.items())
        title = f"trial {one.number}: {found.metric} {score:.4f}; {said}"
        lines.append(ParallelLine(title, [*values, score], 1 - place / len(drawn), one.number == found.best))
    axes = [*varying[:AXES], found.metric]
    label = f"{found.metric} of {len(drawn)} trials and their values: {', '.join(axes)}"
    caption = "A line for each trial through its values to its score: the stronger the line the better, red the best."
    if len(ordered) > len(drawn):
        caption += f" The best {len(drawn)} of {len(ordered)} are drawn."
    if len(varying) > AXES:
        caption += f" {len(varying) - AXES} more hyperparameters are in the table."
    return Figure(ParallelAxes(label, axes, lines), caption)


def _names(trials: Sequence[TuningTrial]) -> list[str]:
    return list(dict.fromkeys(name for one in trials for name in one.values))


def _ordered(found: TuningOutcome) -> list[tuple[float, TuningTrial]]:
    """The trials with a score, and their scores, ordered by the distance to the best trial's score."""
    scored = [(one.score, one) for one in found.trials if one.score is not None]
    best = next((score for score, one in scored if one.number == found.best), 0.0)
    return sorted(scored, key=lambda pair: (abs(pair[0] - best), pair[1].number))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


SECTION = Section("trials", "Trials", rank=8, of_artifact=blocks)

"""The page of a run, `report.html`: what it came to, one picture, and the sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Callout, Fact, Facts, Folded, Grid, Link, Table
from tfopt.report.outcome import Measured, Outcome, outcome
from tfopt.report.overview import Overview
from tfopt.report.page import Page, Part
from tfopt.report.section import SECTIONS
from tfopt.report.units import duration, share

# Warnings that are not folded.
SHOWN = 4


def run_page(name: str, artifacts: Mapping[str, Artifact], models: Table, measured: Measured) -> Page:
    """The page of a run.

    Args:
        name: The run's name.
        artifacts: Its artifacts.
        models: The table of its models.
        measured: What was measured of each model, by its stage.
    """
    came = outcome(artifacts, measured)
    told = [(section, section.blocks(artifacts)) for section in SECTIONS.values()]
    # First of all what must not be missed.
    callouts = [block for _, blocks in told for block in blocks if isinstance(block, Callout)]
    failures = [block for block in callouts if block.tone == "failure"]
    warnings = [block for block in callouts if block.tone == "warning"]
    intro: list[Block] = [*failures, *warnings[:SHOWN]]
    if len(warnings) > SHOWN:
        intro.append(Folded(f"{len(warnings) - SHOWN} more warnings", warnings[SHOWN:]))
    if came:
        picture = Overview(artifacts, measured, came.metric, came.baseline, came.artifact.name)
        drawn = picture.figure() if came.metric else None
        intro.append(Grid([*([drawn] if drawn else []), _facts(came)]))
    parts = [Part("models", "All models", [models])]
    for section, blocks in told:
        if rest := [block for block in blocks if not isinstance(block, Callout)]:
            parts.append(Part(section.name, section.title, rest))
    return Page(
        name,
        came.sentence if came else "",
        intro,
        parts,
        "tfopt report",
        ("The same for machines is in ", Link("report.json", "report.json"), "."),
    )


def _facts(came: Outcome) -> Facts:
    """The figures of the final file, each beside that of the model one started from."""
    artifact, figures, metric, baseline = came.artifact, came.figures, came.metric, came.baseline
    path = f"{artifact.name}/{artifact.file}"
    known: Mapping[str, float | None] = {}
    if baseline:
        known = {name: getattr(baseline, name) for name in ("raw_bytes", "gzip_bytes", "latency_median_seconds")}
        known |= baseline.scores
    shown: list[tuple[str, str, Callable[[float], str]]] = [
        ("raw_bytes", "bytes", "{:,.0f}".format),
        ("gzip_bytes", "bytes after gzip -9", "{:,.0f}".format),
        (metric, metric, "{:.4f}".format),
        ("latency_median_seconds", "median latency", duration),
    ]
    facts = []
    for name, title, text in shown:
        if name in figures:
            before = known.get(name)
            facts.append(Fact(title, text(figures[name]), "" if before is None else f"was {text(before)}"))
    if same := came.same_class:
        facts.append(Fact("same class", share(same.share), f"as {same.stage}" if same.stage else "as before"))
    return Facts([Fact("the file", artifact.name, Link(path, path)), *facts])

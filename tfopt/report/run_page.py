"""The page of a run, `report.html`: what it came to, one picture, and the sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import AccuracyGate, ClassChanges
from tfopt.report.baseline import Baseline, baseline_of
from tfopt.report.blocks import Block, Fact, Facts, Folded, Link, Table
from tfopt.report.headline import SameClass, sentence
from tfopt.report.overview import Measured, Overview
from tfopt.report.page import Page, Part
from tfopt.report.page_parts import callouts, parts
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
    scores = tuple(dict.fromkeys(score for artifact in artifacts.values() for score in artifact.scores))
    baseline = baseline_of(artifacts)
    final = next(reversed(list(measured)), None)
    figures: Mapping[str, float] = measured[final] if final else {}
    gated = [gate.metric for artifact in artifacts.values() if (gate := artifact.details.of(AccuracyGate))]
    metric = next((score for score in (*gated, *scores) if score in figures), "")
    same_class = _same_class(artifacts, final, figures, baseline) if final else None
    # First of all what must not be missed.
    said = callouts(artifacts)
    failures = [block for block in said if block.tone == "failure"]
    warnings = [block for block in said if block.tone == "warning"]
    top: list[Block] = [*failures, *warnings[:SHOWN]]
    if len(warnings) > SHOWN:
        top.append(Folded(f"{len(warnings) - SHOWN} more warnings", warnings[SHOWN:]))
    drawn = None
    if final:
        top.append(_facts(artifacts[final], figures, metric, baseline, same_class))
        drawn = Overview(artifacts, measured, metric, baseline, final).figure() if metric else None
    lead = sentence(baseline, figures, (metric,) if metric else (), same_class)
    return Page(
        name,
        lead,
        [drawn] if drawn else [],
        [Part("models", "All models", [models]), *parts(artifacts, final)],
        "tfopt report",
        ("The same for machines is in ", Link("report.json", "report.json"), "."),
        top,
    )


def _same_class(
    artifacts: Mapping[str, Artifact], final: str, figures: Mapping[str, float], baseline: Baseline | None
) -> SameClass | None:
    """How often the final file gives the class of the model that it is held against, else of the one it was made of."""
    artifact = artifacts[final]
    for changes in (one.details.of(ClassChanges) for one in artifacts.values()):
        outputs = list(changes.files.get(final, {}).values()) if changes else []
        if outputs and (values := sum(output.values for output in outputs)):
            against = outputs[0].against
            stage = "" if baseline and against == baseline.name else against
            return SameClass(sum(output.same for output in outputs) / values, stage)
    if "agreement" not in figures:
        return None
    parent = artifact.parents[0] if artifact.parents else ""
    return SameClass(figures["agreement"], "" if baseline and parent == baseline.name else parent)


def _facts(
    artifact: Artifact,
    figures: Mapping[str, float],
    metric: str,
    baseline: Baseline | None,
    same_class: SameClass | None,
) -> Facts:
    """The figures of the final file, each beside that of the model one started from."""
    path = f"{artifact.name}/{artifact.file}"
    known: Mapping[str, float | None] = {}
    if baseline:
        known = {name: getattr(baseline, name) for name in ("raw_bytes", "gzip_bytes", "latency_median_seconds")}
        known |= baseline.scores
    shown: list[tuple[str, str, Callable[[float], str]]] = [
        ("raw_bytes", "bytes", "{:,.0f}".format),
        ("gzip_bytes", "after gzip -9", "{:,.0f}".format),
        (metric, metric, "{:.4f}".format),
        ("latency_median_seconds", "median latency", duration),
    ]
    facts = []
    for name, title, text in shown:
        if name in figures:
            before = known.get(name)
            facts.append(Fact(title, text(figures[name]), "" if before is None else f"was {text(before)}"))
    if same_class:
        whose = f"as {same_class.stage}" if same_class.stage else "as before"
        facts.append(Fact("same class", share(same_class.share), whose))
    return Facts([Fact("the file", artifact.name, Link(path, path)), *facts])

"""The page of a run, `report.html`: what it came to, one picture, and the sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import AccuracyGate, ClassChanges
from tfopt.report.baseline import Baseline, baseline_of
from tfopt.report.blocks import Block, Callout, Code, Fact, Facts, Folded, Grid, Link, Paragraph, Table
from tfopt.report.headline import SameClass, sentence
from tfopt.report.overview import Measured, Overview
from tfopt.report.page import Page, Part
from tfopt.report.section import SECTIONS
from tfopt.report.units import duration, share
from tfopt.report.verdict import most_lost, verdict_of

# Warnings that are not folded, and metrics that have a tile.
SHOWN, SCORES = 4, 3
GLOSSARY = (
    "raw: bytes of the file; gzip -9: its bytes after that compression, as in a download; non-zero: weights and biases "
    "that are not 0; sparsity: share of zeros in kernels, 0 to 1; in brackets against the baseline. Further down, "
    "distinct values: how many different numbers a kernel holds, few of which compress well."
)


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
    told = [(section, section.blocks(artifacts)) for section in SECTIONS.values()]
    # First of all what must not be missed.
    callouts = [block for _, blocks in told for block in blocks if isinstance(block, Callout)]
    failures = [block for block in callouts if block.tone == "failure"]
    warnings = [block for block in callouts if block.tone == "warning"]
    intro: list[Block] = [*failures, *warnings[:SHOWN]]
    if len(warnings) > SHOWN:
        intro.append(Folded(f"{len(warnings) - SHOWN} more warnings", warnings[SHOWN:]))
    if final:
        drawn = Overview(artifacts, measured, metric, baseline, final).figure() if metric else None
        facts = _facts(artifacts[final], figures, _told(metric, scores, figures, baseline), baseline, same_class)
        intro.append(Grid([*([drawn] if drawn else []), facts]))
    parts = [Part("models", "All models", [models, Paragraph(GLOSSARY)])]
    for section, blocks in told:
        if rest := [block for block in blocks if not isinstance(block, Callout)]:
            parts.append(Part(section.name, section.title, rest))
    verdict = verdict_of(artifacts, final)
    lead = sentence(baseline, figures, tuple(dict.fromkeys(filter(None, (metric, *scores)))), same_class, verdict)
    return Page(
        name,
        lead,
        intro,
        parts,
        "tfopt report",
        ("The same for machines is in ", Link("report.json", "report.json"), "."),
        "Failed" if verdict == "failed" else "",
    )


def _same_class(
    artifacts: Mapping[str, Artifact], final: str, figures: Mapping[str, float], baseline: Baseline | None
) -> SameClass | None:
    """How often the final file gives the class of the model that it is held against, else of the one it was made of."""
    artifact = artifacts[final]
    for changes in (one.details.of(ClassChanges) for one in artifacts.values()):
        outputs = list(changes.files.get(final, {}).values()) if changes else []
        if changes and outputs:
            against = outputs[0].against
            stage = "" if baseline and against == baseline.name else against
            # Runs of older versions have no share for all outputs together.
            same = changes.same.get(final, outputs[0].share if len(outputs) == 1 else None)
            return None if same is None else SameClass(same, stage, len(outputs))
    if "agreement" not in figures:
        return None
    parent = artifact.parents[0] if artifact.parents else ""
    return SameClass(figures["agreement"], "" if baseline and parent == baseline.name else parent)


def _told(metric: str, scores: tuple[str, ...], figures: Mapping[str, float], baseline: Baseline | None) -> list[str]:
    """The metrics that have a tile: the one that counts, the one that lost most, and one of each other output."""
    known = [name for name in (metric, *scores) if name in figures]
    worst = most_lost(baseline.scores, figures, known) if baseline else ""
    told = list(dict.fromkeys(name for name in (metric, worst) if name in known))
    outputs = {output_and_metric(name)[0] for name in told}
    for name in known:
        output, _ = output_and_metric(name)
        told += [] if output in outputs else [name]
        outputs.add(output)
    return told[:SCORES]


def _facts(
    artifact: Artifact,
    figures: Mapping[str, float],
    told: Sequence[str],
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
        ("gzip_bytes", "bytes after gzip -9", "{:,.0f}".format),
        *((name, name, "{:.4f}".format) for name in told),
        ("latency_median_seconds", "median latency", duration),
    ]
    facts = []
    for name, title, text in shown:
        if name in figures:
            before = known.get(name)
            facts.append(Fact(title, text(figures[name]), "" if before is None else f"was {text(before)}"))
    if artifact.format == "tflite" and "latency_median_seconds" not in figures:
        facts.append(Fact("median latency", "not timed", ("add ", Code("benchmark: {}"), " to the recipe")))
    if same_class:
        whose = f"as {same_class.stage}" if same_class.stage else "as before"
        where = "same class" if same_class.outputs == 1 else "same class in every output"
        facts.append(Fact(where, share(same_class.share), whose))
    return Facts([Fact("the file", artifact.name, Link(path, path)), *facts])

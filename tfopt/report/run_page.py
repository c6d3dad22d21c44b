"""The page of a run, `report.html`: what it came to, one picture, and the sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.report.blocks import Block, Code, Fact, Facts, Folded, Link, Paragraph, Table
from tfopt.report.on_device import facts as facts_on
from tfopt.report.on_device import files, source
from tfopt.report.outcome import Measured, Outcome, outcome
from tfopt.report.overview import Overview
from tfopt.report.page import Page, Part
from tfopt.report.page_parts import callouts, parts
from tfopt.report.units import duration, share
from tfopt.report.verdict import most_lost, verdict_of

# Warnings that are not folded, and metrics that have a tile.
SHOWN, SCORES = 4, 3
GLOSSARY = (
    "bytes: of the file; after gzip -9: its bytes after that compression, as in a download; non-zero: weights and "
    "biases that are not 0; zeros: share of zeros in kernels; below each figure what it comes to against the baseline. "
    "Further down, distinct values: how many different numbers a kernel holds, few of which compress well."
)


def run_page(name: str, artifacts: Mapping[str, Artifact], models: Table, measured: Measured) -> Page:
    """The page of a run.

    Args:
        name: The run's name.
        artifacts: Its artifacts.
        models: The table of its models.
        measured: What was measured of each model, by its stage.
    """
    came = outcome(artifacts, measured)
    # First of all what must not be missed.
    said = callouts(artifacts)
    failures = [block for block in said if block.tone == "failure"]
    warnings = [block for block in said if block.tone == "warning"]
    top: list[Block] = [*failures, *warnings[:SHOWN]]
    if len(warnings) > SHOWN:
        top.append(Folded(f"{len(warnings) - SHOWN} more warnings", warnings[SHOWN:]))
    drawn = None
    if came:
        top.append(_facts(came, _told(came)))
        picture = Overview(artifacts, measured, came.metric, came.baseline, came.artifact.name)
        drawn = picture.figure() if came.metric else None
    all_models = Part("models", "All models", [models, Paragraph(GLOSSARY)])
    return Page(
        name,
        came.sentence if came else "",
        [drawn] if drawn else [],
        [all_models, *parts(artifacts, came.artifact.name if came else None)],
        "tfopt report",
        ("The same for machines is in ", Link("report.json", "report.json"), "."),
        verdict="Failed" if verdict_of(artifacts, None) == "failed" else "",
        top=top,
    )


def _told(came: Outcome) -> list[str]:
    """The metrics that have a tile: the one that counts, the one that lost most, and one of each other output."""
    known = came.scores
    worst = most_lost(came.baseline.scores, came.figures, known) if came.baseline else ""
    told = list(dict.fromkeys(name for name in (came.metric, worst) if name in known))
    outputs = {output_and_metric(name)[0] for name in told}
    for name in known:
        output, _ = output_and_metric(name)
        told += [] if output in outputs else [name]
        outputs.add(output)
    return told[:SCORES]


def _facts(came: Outcome, told: Sequence[str]) -> Facts:
    """The figures of the final file, each beside that of the model one started from."""
    artifact, figures, baseline = came.artifact, came.figures, came.baseline
    path = f"{artifact.name}/{artifact.file}"
    known: Mapping[str, float | None] = {}
    if baseline:
        known = {name: getattr(baseline, name) for name in ("raw_bytes", "gzip_bytes", "latency_median_seconds")}
        known |= baseline.scores
    shown: list[tuple[str, str, Callable[[float], str]]] = [
        ("raw_bytes", "bytes", "{:,.0f}".format),
        ("gzip_bytes", "after gzip -9", "{:,.0f}".format),
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
    for file in files(artifact):
        facts += [Fact(f"{one.name} on {file.target}", one.value, source(file.target)) for one in facts_on(file)[:1]]
    if same := came.same_class:
        where = "same class" if same.outputs == 1 else "same class in every output"
        facts.append(Fact(where, share(same.share), f"as {same.stage}" if same.stage else "as before"))
    return Facts([Fact("the file", artifact.name, Link(path, path)), *facts])

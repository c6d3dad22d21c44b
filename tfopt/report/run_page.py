"""The page of a run, `report.html`: what it came to, one picture, and the sections."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.report.baseline import Baseline, baseline_of
from tfopt.report.blocks import Block, Callout, Fact, Facts, Grid, Link, Table
from tfopt.report.headline import sentence, share
from tfopt.report.overview import Measured, picture
from tfopt.report.page import Page, Part
from tfopt.report.section import SECTIONS
from tfopt.report.units import duration

FILE = "report.html"


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
    final = next(reversed(measured), None)
    figures = measured[final] if final else {}
    metric = next((score for score in scores if score in figures), "")
    intro: list[Block] = []
    for section in ("gates", "warnings"):  # first of all what must not be missed
        intro += [block for block in SECTIONS[section].blocks(artifacts) if isinstance(block, Callout)]
    if final:
        drawn = picture(artifacts, measured, metric, baseline, final) if metric else None
        facts = _facts(artifacts[final], figures, metric, baseline)
        intro.append(Grid([*([drawn] if drawn else []), facts]))
    parts = [Part("models", "All models", [models])]
    for section in SECTIONS.values():
        blocks = [block for block in section.blocks(artifacts) if not isinstance(block, Callout)]
        if blocks:
            parts.append(Part(section.name, section.title, blocks))
    lead = sentence(baseline, figures, (metric,) if metric else ())
    return Page(
        name,
        lead,
        intro,
        parts,
        "tfopt report",
        ("The same for machines is in ", Link("report.json", "report.json"), "."),
    )


def _facts(artifact: Artifact, figures: Mapping[str, float], metric: str, baseline: Baseline | None) -> Facts:
    """The figures of the final file, each beside that of the model one started from."""
    before = baseline
    path = f"{artifact.name}/{artifact.file}"
    facts = []
    if "raw_bytes" in figures:
        facts.append(Fact("bytes", f"{figures['raw_bytes']:,.0f}", _was(before and before.raw_bytes, "{:,.0f}")))
    if "gzip_bytes" in figures:
        facts.append(
            Fact("bytes after gzip -9", f"{figures['gzip_bytes']:,.0f}", _was(before and before.gzip_bytes, "{:,.0f}"))
        )
    if metric:
        facts.append(Fact(metric, f"{figures[metric]:.4f}", _was(before and before.scores.get(metric), "{:.4f}")))
    if "latency_median_seconds" in figures:
        value = before and before.latency_median_seconds
        facts.append(
            Fact(
                "median latency", duration(figures["latency_median_seconds"]), f"was {duration(value)}" if value else ""
            )
        )
    if "agreement" in figures:
        facts.append(Fact("same class", share(figures["agreement"]), "as the Keras model"))
    return Facts([*facts, Fact("file", artifact.file.rsplit("/", 1)[-1], Link(path, path))])


def _was(value: float | None, form: str) -> str:
    return f"was {form.format(value)}" if value else ""

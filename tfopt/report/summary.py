"""The summary of a run from its `artifact.json` files: `report.json`, `report.md` and `report.html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfopt.durable_files import write_together
from tfopt.errors import InputError
from tfopt.input_limits import parse_json
from tfopt.plain_text import plain_json
from tfopt.recipe.artifact import BASELINE, CARD, PAGE, SOURCE, Artifact
from tfopt.recipe.workspace import Workspace
from tfopt.report.baseline import RATIOS, UNTOLD, against, baseline_of, change, measured_baseline, untold_spread
from tfopt.report.blocks import Table
from tfopt.report.markdown import table, text
from tfopt.report.model_card import model_card
from tfopt.report.models_table import models_table
from tfopt.report.outcome import Measured, score_names
from tfopt.report.page import Page
from tfopt.report.recipe_file import read_recipe
from tfopt.report.run_page import run_page
from tfopt.report.section import markdown
from tfopt.report.stage_title import title
from tfopt.report.units import bytes_, duration, times


@dataclass(frozen=True)
class Row:
    """One model of a run, with everything that stages measured of it.

    Args:
        stage: The name of the stage that made it.
        kind: Kind of that stage.
        format: `keras` or `tflite`.
        metrics: Measured values by name; of the baseline the sizes and latency of its float32 file among them.
        baseline: Whether it is the model that the run starts from.
        against: Its figures against the baseline's by name: how many times smaller a size or a latency is, and the
            difference of a score.
        untold_spread_seconds: How much its latency and the baseline's vary, where they differ by no more than that and
            so are not told apart.
    """

    stage: str
    kind: str
    format: str
    metrics: dict[str, float]
    baseline: bool = False
    against: dict[str, float] = field(default_factory=dict)
    untold_spread_seconds: float | None = None


def rows(artifacts: dict[str, Artifact]) -> list[Row]:
    """One row for each stage that made a model; stages that only measure add to the rows of those models.

    The source model has a row where it is the baseline.
    """
    before = measured_baseline(artifacts)
    first = before.parents[0] if before else None
    made = {name: a for name, a in artifacts.items() if not a.files and (a.kind != SOURCE or name == first)}
    merged = {name: dict(artifact.metrics) for name, artifact in made.items()}
    for artifact in artifacts.values():
        for name, measured in artifact.files.items():
            merged.setdefault(name, {}).update(measured)
    names = (*RATIOS, *score_names(artifacts))
    start = {name: value for name, value in merged[first].items() if name in names} if first else {}
    changes = {name: {} if name == first else against(figures, start) for name, figures in merged.items()}
    spreads = {name: untold_spread(own, merged[first]) for name, own in merged.items() if first and name != first}
    return [
        Row(name, a.kind, a.format, merged[name], name == first, changes[name], spreads.get(name))
        for name, a in made.items()
    ]


def headers(scores: Sequence[str]) -> tuple[str, ...]:
    """The heads of the columns of `cells`."""
    return "stage", *scores, "sparsity", "raw", "gzip -9", "non-zero", "latency (median / p90)"


def cells(row: Row, scores: Sequence[str]) -> tuple[str, ...]:
    """A row as text, with the metrics `scores`; a missing figure is a dash."""
    m = row.metrics
    latency = "-"
    if "latency_median_seconds" in m:
        latency = f"{duration(m['latency_median_seconds'])} / {duration(m['latency_p90_seconds'])}"
    return (
        title(row.stage),
        *(f"{m[score]:.4f}" if score in m else "-" for score in scores),
        f"{m['sparsity']:.4f}" if "sparsity" in m else "-",
        bytes_(m["raw_bytes"]) if "raw_bytes" in m else "-",
        bytes_(m["gzip_bytes"]) if "gzip_bytes" in m else "-",
        f"{m['nonzero_parameters']:,.0f}" if "nonzero_parameters" in m else "-",
        latency,
    )


def remarks(row: Row, scores: Sequence[str]) -> tuple[str, ...]:
    """What a row's cells come to against the baseline, in the order of `cells`; empty where there is nothing to say."""
    a = row.against
    *sizes, latency = (_ratio(a[name], word) if a.get(name, 1) != 1 else "" for name, word in RATIOS.items())
    if row.untold_spread_seconds is not None:
        latency = f"{UNTOLD}, varies by {duration(row.untold_spread_seconds)}"
    changes = (change(name, a[name]) if a.get(name) else "" for name in scores)
    return "baseline" if row.baseline else "", *changes, "", *sizes, latency


def _ratio(ratio: float, worse: str) -> str:
    """How many times smaller or faster, or in a word how many times the other way round."""
    found = times(max(ratio, 1 / ratio) if ratio else ratio)
    return f"{found} {worse}" if ratio < 1 and found != times(1) else found


def told(row: Row, scores: Sequence[str]) -> tuple[str, ...]:
    """A row's cells, each with what it comes to against the baseline in brackets."""
    pairs = zip(cells(row, scores), remarks(row, scores), strict=True)
    return tuple(f"{cell} ({remark})" if remark else cell for cell, remark in pairs)


def write(artifacts: dict[str, Artifact], folder: Path) -> None:
    """Writes the reports of a run into its folder."""
    record = as_record(artifacts)
    texts = {
        "report.json": plain_json(record),
        "report.md": as_markdown(folder.name, artifacts),
        PAGE: as_page(folder.name, artifacts).html(),
    }
    if card := as_model_card(folder.name, artifacts):
        texts[CARD] = card
    write_together({folder / name: content for name, content in texts.items()})


def collect(folder: Path) -> dict[str, Artifact]:
    """The artifacts of a run's folder, in the order they were made, without those of earlier states of others.

    Raises:
        InputError: The folder has no artifacts.
    """
    workspace = Workspace(folder)
    made = sorted(workspace.artifacts(), key=lambda artifact: artifact.kind not in (SOURCE, BASELINE))
    outdated = workspace.outdated()
    artifacts = {artifact.name: artifact for artifact in made if artifact.name not in outdated}
    try:  # a stage that the recipe no longer has leaves its folder behind
        last = parse_json((folder / "report.json").read_bytes())
        recipe = read_recipe(folder)
        names = [*(a["name"] for a in last["artifacts"]), *(step.name for step in (recipe.chain() if recipe else ()))]
        artifacts = {name: artifacts[name] for name in dict.fromkeys(names) if name in artifacts}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if not artifacts:
        raise InputError(f"{folder} holds no results. Name a recipe's folder, such as saved_models/digits.")
    return artifacts


def as_record(artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """The report as JSON: the rows, the baseline, and every artifact with the versions that made it."""
    found = baseline_of(artifacts)
    return {
        "baseline": asdict(found) if found else None,
        "rows": [asdict(row) for row in rows(artifacts)],
        "passed": not any(a.failed for a in artifacts.values()),
        "artifacts": [{**asdict(a), "folder": a.folder.name} for a in artifacts.values()],
    }


def as_markdown(name: str, artifacts: dict[str, Artifact]) -> str:
    """The report for reading: the table, and every section that has something to say."""
    scores = score_names(artifacts)
    lines = [f"# {text(name)}", "", *table(headers(scores), [told(row, scores) for row in rows(artifacts)])]
    return "\n".join([*lines, *markdown(artifacts), ""])


def as_model_card(name: str, artifacts: dict[str, Artifact]) -> str | None:
    """The model card of the last file, for the Hugging Face hub; None for a run without one."""
    scores, models = score_names(artifacts), rows(artifacts)
    shown = Table(headers(scores), [cells(row, scores) for row in models])
    return model_card(name, artifacts, _measured(artifacts, models), shown)


def as_page(name: str, artifacts: dict[str, Artifact]) -> Page:
    """The report as a page: what it came to, one picture, the table, and the sections."""
    scores, models = score_names(artifacts), rows(artifacts)
    shown = models_table(
        {title(row.stage): row.metrics for row in models}, scores, [remarks(row, scores) for row in models]
    )
    return run_page(name, artifacts, shown, _measured(artifacts, models))


def _measured(artifacts: Mapping[str, Artifact], models: Sequence[Row]) -> Measured:
    """What was measured of each model; not of the baseline the bytes of the float32 file beside it."""
    return {row.stage: artifacts[row.stage].metrics if row.baseline else row.metrics for row in models}

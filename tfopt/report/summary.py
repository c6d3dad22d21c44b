"""`report.json`, `report.md` and the pages with plots: what a run came to, from the `artifact.json` files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfopt.errors import InputError
from tfopt.recipe.artifact import SOURCE, Artifact, Workspace
from tfopt.report import channels, classes, curves, pareto, pruning_log, quantization, tuning


@dataclass(frozen=True)
class Row:
    """One model of a run, with all that any stage measured of it.

    Args:
        stage: The name of the stage that made it.
        kind: That stage's kind.
        format: `keras` or `tflite`.
        metrics: Everything measured, by name.
    """

    stage: str
    kind: str
    format: str
    metrics: dict[str, float]


def rows(artifacts: dict[str, Artifact]) -> list[Row]:
    """One row for each stage that made a model; those that only measured add to the rows of what they measured."""
    made = {name: a for name, a in artifacts.items() if not a.files and a.kind != SOURCE}
    merged = {name: dict(artifact.metrics) for name, artifact in made.items()}
    for artifact in artifacts.values():
        for name, measured in artifact.files.items():
            merged.setdefault(name, {}).update(measured)
    return [Row(name, a.kind, a.format, merged[name]) for name, a in made.items()]


def score_names(artifacts: Mapping[str, Artifact]) -> list[str]:
    """The metrics that say how good the models are, the gated one first."""
    return list(dict.fromkeys(name for artifact in artifacts.values() for name in artifact.scores)) or ["accuracy"]


def headers(scores: Sequence[str]) -> tuple[str, ...]:
    """The heads of the columns of `cells`."""
    return "stage", *scores, "sparsity", "raw", "gzip -9", "non-zero", "latency (median / p90)"


def cells(row: Row, scores: Sequence[str]) -> tuple[str, ...]:
    """A row as text, with the metrics `scores`; a figure that was not taken is a dash."""
    m = row.metrics
    latency = "-"
    if "latency_median_seconds" in m:
        latency = f"{duration(m['latency_median_seconds'])} / {duration(m['latency_p90_seconds'])}"
    return (
        row.stage,
        *(f"{m[score]:.4f}" if score in m else "-" for score in scores),
        f"{m['sparsity']:.4f}" if "sparsity" in m else "-",
        f"{m['raw_bytes']:,.0f} B" if "raw_bytes" in m else "-",
        f"{m['gzip_bytes']:,.0f} B" if "gzip_bytes" in m else "-",
        f"{m['nonzero_parameters']:,.0f}" if "nonzero_parameters" in m else "-",
        latency,
    )


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    scales = [(seconds * factor, unit) for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs"))]
    value, unit = next((scale for scale in scales if scale[0] >= 0.9995), scales[-1])
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"


def write(artifacts: dict[str, Artifact], folder: Path) -> None:
    """Writes the reports of a run into its folder, and the pages with plots beside them."""
    record = as_record(artifacts)
    (folder / "report.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    (folder / "report.md").write_text(as_markdown(folder.name, artifacts))
    for room in (curves, classes, pareto, tuning):
        page = room.page(folder.name, artifacts)
        if page is None:
            (folder / room.FILE).unlink(missing_ok=True)
        else:
            (folder / room.FILE).write_text(page)


def collect(folder: Path) -> dict[str, Artifact]:
    """The artifacts of a run's folder, in the order they were made.

    Raises:
        InputError: There are none.
    """
    artifacts = {artifact.name: artifact for artifact in Workspace(folder).artifacts()}
    try:  # a stage that the recipe no longer has leaves its folder behind
        last = json.loads((folder / "report.json").read_text())
        artifacts = {name: artifacts[name] for name in (a["name"] for a in last["artifacts"]) if name in artifacts}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if not artifacts:
        raise InputError(f"{folder} holds no results. Name a recipe's folder, such as saved_models/digits.")
    return artifacts


def as_record(artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """The report as JSON: the rows, and every artifact with the versions that made it."""
    return {
        "rows": [asdict(row) for row in rows(artifacts)],
        "passed": not any(a.failed for a in artifacts.values()),
        "artifacts": [{**asdict(a), "folder": a.folder.name} for a in artifacts.values()],
    }


def as_markdown(name: str, artifacts: dict[str, Artifact]) -> str:
    """The report for reading: the table, the gates, what was left alone, the versions."""
    table = rows(artifacts)
    scores = score_names(artifacts)
    heads = headers(scores)
    lines = [f"# {name}", "", f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(cells(row, scores))} |" for row in table]
    lines += curves.section(artifacts)
    for artifact in artifacts.values():
        carried = artifact.details.get("carried")
        if carried:
            error, scale = carried["max_error"], carried["scale"]
            lines += ["", f"## {artifact.name}: carried over from {carried['from']}", ""]
            lines += [f"- largest difference of the outputs in Keras 3: {error:.3g}, of values up to {scale:.3g}"]
        compared = comparisons(artifact)
        if compared:
            lines += ["", f"## {artifact.name}: on LiteRT against the Keras models", ""]
            lines += [f"- {line}" for line in compared]
        lines += classes.section(artifact)
        lines += quantization.section(artifact)
        lines += pruning_log.section(artifact)
        lines += channels.section(artifact)
        lines += pareto.section(artifact)
        lines += tuning.section(artifact)
        if artifact.failed:
            lines += ["", f"**FAIL** {artifact.name}: {artifact.failed}"]
        if artifact.skipped:
            lines += ["", f"## {artifact.name}: left as it was", ""]
            lines += [f"- `{skipped.where}`: {skipped.reason}" for skipped in artifact.skipped]
    made = dict.fromkeys(", ".join(f"{k} {v}" for k, v in a.environment.items()) for a in artifacts.values())
    lines += ["", "## Made with", "", *made, ""]
    return "\n".join(lines)


def comparisons(artifact: Artifact) -> list[str]:
    """One sentence for each file that was compared with its Keras model."""
    sentences = []
    for name, m in artifact.files.items():
        parts = [f"same class for {m['agreement']:.2%} of the test samples"] if "agreement" in m else []
        parts += [f"largest difference {m['max_error']:.3g}"] if "max_error" in m else []
        parts += [f"SNR {m['snr_db']:.1f} dB"] if "snr_db" in m else []
        parts += [f"drop {m['drop']:+.4f}"] if "drop" in m else []
        sentences += [f"{name}: {', '.join(parts)}"] if parts else []
    return sentences

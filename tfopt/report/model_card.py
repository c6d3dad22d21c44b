"""The model card of a run, `model_card.md`: Markdown in the form of the Hugging Face hub, with the figures.

References:
    The model cards of the hub, huggingface.co/docs/hub/model-cards, and their metadata,
    github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.details.usage import Usage
from tfopt.report.blocks import Block, Bullets, Listing, Paragraph, Table
from tfopt.report.markdown import lines
from tfopt.report.sections.recipe import FILE, FOLDERS
from tfopt.report.sections.usage import recorded
from tfopt.report.units import duration, share

# The hub's name for a license that nobody has chosen yet.
LICENSE = "# The license is yours to choose: https://huggingface.co/docs/hub/repositories-licenses\nlicense: unknown\n"
# The hub's words for what only the author knows.
NEEDED = "[More Information Needed]"
# The hub's names of metrics, by the endings of tfopt's.
METRIC_TYPES = {
    "balanced_accuracy": "balanced_accuracy",
    "accuracy": "accuracy",
    "f1": "f1",
    "precision": "precision",
    "recall": "recall",
    "roc_auc": "roc_auc",
    "mse": "mse",
    "mae": "mae",
    "r2": "r_squared",
}
# Tags by the kind of the stage that a file came through.
TAGS = {"prune": "pruned", "prune_channels": "pruned", "cluster": "clustered", "qat": "quantization-aware-training"}


def model_card(
    name: str, artifacts: Mapping[str, Artifact], measured: Mapping[str, Mapping[str, float]], models: Table, lead: str
) -> str | None:
    """The model card of a run's last file; None where it has none.

    Args:
        name: The run's name.
        artifacts: Its artifacts.
        measured: What was measured of each model, by its stage.
        models: The table of its models.
        lead: What the run came to, in a sentence; empty where it is not known.
    """
    files = [stage for stage in measured if artifacts[stage].format == "tflite"]
    if not files:
        return None
    artifact = artifacts[files[-1]]
    figures, recipe = measured[artifact.name], _recipe(artifact.folder.parent)
    head = _metadata(name, artifact, artifacts, figures, recipe)
    body = [f"# {name}", *lines(_body(name, artifact, artifacts, figures, recipe, models, lead)), ""]
    return f"---\n{head}---\n\n" + "\n".join(body)


def _metadata(
    name: str,
    artifact: Artifact,
    artifacts: Mapping[str, Artifact],
    figures: Mapping[str, float],
    recipe: Mapping[str, Any],
) -> str:
    """The metadata at the top, in YAML."""
    from ruamel.yaml import YAML

    line = _line(artifact, artifacts)
    modes = [str(settings.get("mode", "int8")) for settings in _settings(recipe, artifact)]
    tags = ["tflite", *modes, *(TAGS[one.kind] for one in line if one.kind in TAGS)]
    scores = _scores(artifact, artifacts, figures)
    record: dict[str, Any] = {"library_name": "litert", "tags": list(dict.fromkeys(tags))}
    if scores:
        record["metrics"] = list(dict.fromkeys(_metric_type(score) for score in scores))
        result = {
            "task": {"type": "other", "name": _task(artifact)},
            "dataset": {"type": _slug(_data(recipe)), "name": _data(recipe), "split": "test"},
            "metrics": [
                {"type": _metric_type(score), "name": f"{score} on LiteRT", "value": round(float(figures[score]), 6)}
                for score in scores
            ],
        }
        record["model-index"] = [{"name": name, "results": [result]}]
    stream = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(record, stream)
    return LICENSE + stream.getvalue()


def _body(
    name: str,
    artifact: Artifact,
    artifacts: Mapping[str, Artifact],
    figures: Mapping[str, float],
    recipe: Mapping[str, Any],
    models: Table,
    lead: str,
) -> list[Block]:
    from tfopt.report.blocks import Heading

    found = recorded(artifact)
    notes = artifact.details.of(ConversionNotes)
    said = f"A .tflite file for LiteRT, made by tfopt: {artifact.path.name}{_size(figures)}."
    blocks: list[Block] = [Paragraph(said), *([Paragraph(lead)] if lead else [])]
    if artifact.failed or any(one.failed for one in artifacts.values()):
        failed = " ".join(one.failed for one in artifacts.values() if one.failed)
        blocks.append(Paragraph(f"This file did not pass its gate: {failed}"))
    blocks += [Heading("Intended use"), *([Bullets(_purpose(found))] if found else []), Paragraph(NEEDED)]
    blocks += [Heading("Training data"), Paragraph(f"{_data(recipe)}, as the recipe names it. {NEEDED}")]
    blocks += [Heading("Evaluation"), models, Paragraph(_measured_on(artifact, artifacts, figures))]
    if found:
        blocks += _how_to_use(found, artifact)
    blocks += [Heading("How it was made")]
    blocks += [Listing(text, "yaml")] if (text := _written(artifact.folder.parent)) else []
    blocks += [Bullets(notes.notes)] if notes and notes.notes else []
    versions = ", ".join(f"{package} {version}" for package, version in artifact.environment.items())
    return [*blocks, *([Paragraph(f"Made with {versions}.")] if versions else [])]


def _how_to_use(found: Usage, artifact: Artifact) -> list[Block]:
    from tfopt.deployment.snippet import SNIPPETS
    from tfopt.deployment.words import described
    from tfopt.report.blocks import Heading

    rows = [f"{side} {name}: {meaning}" for side, name, meaning in described(found)]
    blocks: list[Block] = [Heading("How to use it"), Bullets(rows)]
    python = SNIPPETS["python"]
    return blocks if python.reason(found) else [*blocks, Listing(python.code(found, artifact.path.name), "python")]


def _purpose(found: Usage) -> list[str]:
    """What the file computes, as far as it tells itself."""
    from tfopt.deployment.words import decision, shape

    takes = ", ".join(f"{end.name} ({shape(end)})" for end in found.inputs)
    gives = ", ".join(f"{end.name} ({decision(end) or shape(end)})" for end in found.outputs)
    return [f"takes {takes}", f"gives {gives}"]


def _measured_on(artifact: Artifact, artifacts: Mapping[str, Artifact], figures: Mapping[str, float]) -> str:
    """Where the figures are from: split, runtime, and the machine of the latency."""
    words = ["Metrics are of the test split, of a .tflite on the LiteRT runtime."]
    if "latency_median_seconds" in figures:
        timed = [one for one in artifacts.values() if "latency_median_seconds" in one.files.get(artifact.name, {})]
        made = (timed[-1] if timed else artifact).environment
        machine = made.get("processor") or made.get("machine") or "an unknown machine"
        median = duration(figures["latency_median_seconds"])
        words.append(
            f"Latency: median {median} of one sample on {machine}, one thread of LiteRT unless asked otherwise."
        )
    if "arena_bytes" in figures:
        words.append(f"Tensor arena on LiteRT for Microcontrollers: {figures['arena_bytes']:,.0f} B.")
    if "agreement" in figures:
        words.append(
            f"Same class as the Keras model that it was made of: {share(figures['agreement'])} of the samples."
        )
    return " ".join(words)


def _size(figures: Mapping[str, float]) -> str:
    sizes = [(figures.get("raw_bytes"), ""), (figures.get("gzip_bytes"), " after gzip")]
    told = [f"{value:,.0f} bytes{suffix}" for value, suffix in sizes if value]
    return f", {', '.join(told)}" if told else ""


def _scores(artifact: Artifact, artifacts: Mapping[str, Artifact], figures: Mapping[str, float]) -> list[str]:
    names = dict.fromkeys(score for one in artifacts.values() for score in one.scores)
    return [score for score in names if score in figures]


def _metric_type(score: str) -> str:
    return next((kind for ending, kind in METRIC_TYPES.items() if re.search(rf"(^|_){ending}$", score)), score)


def _task(artifact: Artifact) -> str:
    found = artifact.details.of(Usage)
    return "Classification" if found and any(end.decides for end in found.outputs) else "Prediction"


def _line(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> list[Artifact]:
    """An artifact and what it was made from, the first first."""
    line = [artifact]
    while line[0].parents and line[0].parents[0] in artifacts:
        line.insert(0, artifacts[line[0].parents[0]])
    return line


def _settings(recipe: Mapping[str, Any], artifact: Artifact) -> list[Mapping[str, Any]]:
    """The settings of the stage that made an artifact, where it is one that quantizes."""
    found = []
    for stage in _sequence(recipe.get("stages")):
        for kind, settings in stage.items() if isinstance(stage, Mapping) else [(stage, None)]:
            own = settings if isinstance(settings, Mapping) else {}
            if kind in ("quantize", "qat") and own.get("name", kind) == artifact.name:
                found.append(own)
    return found


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _recipe(folder: Path) -> Mapping[str, Any]:
    from ruamel.yaml import YAML

    if not (folder / FILE).is_file():
        return {}
    found = YAML(typ="safe").load((folder / FILE).read_text())
    return found if isinstance(found, Mapping) else {}


def _written(folder: Path) -> str:
    return FOLDERS.sub("", (folder / FILE).read_text()) if (folder / FILE).is_file() else ""


def _data(recipe: Mapping[str, Any]) -> str:
    """The data as the recipe names it, without the folders of the machine."""
    data = recipe.get("data")
    named = next(iter(data), None) if isinstance(data, Mapping) else data
    return FOLDERS.sub("", str(named)) if named else "data given in Python"


def _slug(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "-", text).strip("-").lower() or "unknown"

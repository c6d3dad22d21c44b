"""The model card of a run, `model_card.md`: Markdown in the form of the Hugging Face hub, with the figures.

References:
    The model cards of the hub, huggingface.co/docs/hub/model-cards, and their metadata,
    github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfopt.markdown_text import escaped
from tfopt.metrics import output_and_metric
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.details.timing import Latencies
from tfopt.recipe.details.usage import Usage
from tfopt.recipe.details.verification import AccuracyGate
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.yaml_text import yaml_text
from tfopt.report.blocks import Block, Bullets, Listing, Paragraph, Table
from tfopt.report.markdown import lines
from tfopt.report.on_device import files, line
from tfopt.report.outcome import Measured, Outcome, outcome, score_names
from tfopt.report.recipe_file import read_recipe, recipe_text
from tfopt.report.sections.recipe import FOLDERS
from tfopt.report.sections.usage import recorded
from tfopt.report.units import bytes_, duration, share

# The hub's name for a license that nobody has chosen yet.
LICENSE = "# The license is yours to choose: https://huggingface.co/docs/hub/repositories-licenses\nlicense: unknown\n"
# The hub's words for what only the author knows.
NEEDED = "[More Information Needed]"
# The hub's names of metrics where tfopt's are others, and the ways to average that its names leave out.
METRIC_TYPES = {"r2": "r_squared"}
AVERAGED = re.compile(r"_(macro|micro|weighted)$")
# Tags by the kind of the stage that a file came through.
TAGS = {"prune": "pruned", "prune_channels": "pruned", "cluster": "clustered", "qat": "quantization-aware-training"}


def model_card(name: str, artifacts: Mapping[str, Artifact], measured: Measured, models: Table) -> str | None:
    """The model card of a run's last file; None where it has none.

    Args:
        name: The run's name.
        artifacts: Its artifacts.
        measured: What was measured of each model, by its stage.
        models: The table of its models.
    """
    came = outcome(artifacts, measured)
    if came is None or came.artifact.format != "tflite":
        return None
    recipe = read_recipe(came.artifact.folder.parent)
    head = _metadata(name, came, artifacts, recipe)
    body = [f"# {escaped(name)}", *lines(_body(came, artifacts, recipe, models)), ""]
    return f"---\n{head}---\n\n" + "\n".join(body)


def _metadata(name: str, came: Outcome, artifacts: Mapping[str, Artifact], recipe: Recipe | None) -> str:
    """The metadata at the top, in YAML."""
    artifact, figures, data = came.artifact, came.figures, _data(recipe) or "unknown"
    made = [TAGS[one.kind] for one in _line(artifact, artifacts) if one.kind in TAGS]
    tags = ["tflite", *_modes(recipe, artifact), *made]
    scores = [score for score in score_names(artifacts) if score in figures]
    record: dict[str, Any] = {"library_name": "litert", "tags": list(dict.fromkeys(tags))}
    if scores:
        record["metrics"] = list(dict.fromkeys(_metric_type(score) for score in scores))
        result = {
            "task": {"type": "other", "name": _task(artifact)},
            "dataset": {"type": _slug(data), "name": data, "split": "test"},
            "metrics": [
                {"type": _metric_type(score), "name": f"{score} on LiteRT", "value": round(float(figures[score]), 6)}
                for score in scores
            ],
        }
        record["model-index"] = [{"name": name, "results": [result]}]
    return LICENSE + yaml_text(record, flow=False)


def _body(came: Outcome, artifacts: Mapping[str, Artifact], recipe: Recipe | None, models: Table) -> list[Block]:
    from tfopt.report.blocks import Heading

    artifact, figures = came.artifact, came.figures
    found, data = recorded(artifact), _data(recipe)
    notes = artifact.details.of(ConversionNotes)
    said = f"A .tflite file for LiteRT, made by tfopt: {artifact.path.name}{_size(figures)}."
    blocks: list[Block] = [Paragraph(said), *([Paragraph(came.sentence)] if came.sentence else [])]
    blocks += [
        Paragraph(f"This file is less accurate than its recipe allows: {one}") for one in _failures(artifact, artifacts)
    ]
    blocks += [Heading("Intended use"), *([Bullets(_purpose(found))] if found else []), Paragraph(NEEDED)]
    blocks += [Heading("Training data"), Paragraph(f"{data}, as the recipe names it. {NEEDED}" if data else NEEDED)]
    blocks += [Heading("Evaluation"), models, Paragraph(_measured_on(artifact, artifacts, figures))]
    if found:
        blocks += _how_to_use(found, artifact)
    blocks += [Heading("How it was made")]
    blocks += [Listing(text, "yaml")] if (text := FOLDERS.sub("", recipe_text(artifact.folder.parent))) else []
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
        made = timed[-1] if timed else artifact
        machine = made.environment.get("processor") or made.environment.get("machine") or "an unknown machine"
        median, latencies = duration(figures["latency_median_seconds"]), made.details.of(Latencies)
        on = f", {latencies.threads} CPU thread{'s' if latencies.threads > 1 else ''}" if latencies else ""
        words.append(f"Latency: median {median} of one sample on {machine}{on}.")
    if "arena_bytes" in figures:
        words.append(f"Tensor arena on LiteRT for Microcontrollers: {bytes_(figures['arena_bytes'])}.")
    words += [f"{told[0].upper()}{told[1:]}." for told in map(line, files(artifact))]
    if "agreement" in figures:
        words.append(
            f"Same class as the Keras model that it was made of: {share(figures['agreement'])} of the samples."
        )
    return " ".join(words)


def _size(figures: Mapping[str, float]) -> str:
    sizes = [(figures.get("raw_bytes"), ""), (figures.get("gzip_bytes"), " after gzip")]
    told = [f"{value:,.0f} bytes{suffix}" for value, suffix in sizes if value]
    return f", {', '.join(told)}" if told else ""


def _failures(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> Iterator[str]:
    """What the gates say that this very file did not pass."""
    if artifact.failed:
        yield artifact.failed
    for one in artifacts.values():
        gate = one.details.of(AccuracyGate)
        if gate and artifact.name in gate.failed:
            file = gate.files[artifact.name]
            if math.isnan(file.drop):
                yield f"{gate.metric} is {file.after:.4f} on LiteRT and {file.before:.4f} of {file.baseline}."
                continue
            yield (
                f"{gate.metric} {file.after:.4f} on LiteRT, {file.drop:.4f} worse than the {file.before:.4f} of "
                f"{file.baseline}; the recipe allows {gate.max_drop:g}."
            )
        elif one.failed and not gate and set(one.files) == {artifact.name}:  # a stage of a user's own
            yield one.failed


def _metric_type(score: str) -> str:
    """The hub's name of a metric; of one that the hub does not have its own."""
    _, metric = output_and_metric(score)
    name = AVERAGED.sub("", metric.name) if metric else score
    return METRIC_TYPES.get(name, name)


def _task(artifact: Artifact) -> str:
    found = artifact.details.of(Usage)
    return "Classification" if found and any(end.decides for end in found.outputs) else "Prediction"


def _line(artifact: Artifact, artifacts: Mapping[str, Artifact]) -> list[Artifact]:
    """An artifact and what it was made from, the first first."""
    line = [artifact]
    while line[0].parents and line[0].parents[0] in artifacts:
        line.insert(0, artifacts[line[0].parents[0]])
    return line


def _modes(recipe: Recipe | None, artifact: Artifact) -> list[str]:
    """The mode of the stage that made an artifact, where it has one."""
    steps = recipe.chain() if recipe else []
    modes = [getattr(step.stage, "mode", None) for step in steps if step.name == artifact.name]
    return [mode for mode in modes if isinstance(mode, str)]


def _data(recipe: Recipe | None) -> str:
    """The data as the recipe names it, without the folders of the machine; empty where there is no recipe."""
    if recipe is None:
        return ""
    named = next(iter(recipe.data), "") if isinstance(recipe.data, Mapping) else recipe.data
    return FOLDERS.sub("", str(named))


def _slug(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z]+", "-", text).strip("-").lower() or "unknown"

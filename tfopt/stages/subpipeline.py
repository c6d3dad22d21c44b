"""Stages run one after the other inside of another stage, in a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tfopt.durable_files import remove, rename, sha256_of, sync, write
from tfopt.recipe.artifact import Artifact, Skipped
from tfopt.recipe.details.detail import Detail, Details
from tfopt.recipe.details.quantization import Audit, ConversionNotes
from tfopt.recipe.details.weights import QuantizationErrors, WeightsByLayer
from tfopt.recipe.progress import Progress
from tfopt.recipe.stage import Context, Stage
from tfopt.sealed_json import seal, unseal

# What is told of a file that is made within a stage as of one that the stage `quantize` makes.
OF_FILE: tuple[type[Detail], ...] = (ConversionNotes, Audit, WeightsByLayer, QuantizationErrors)


def run_stages(stages: Sequence[Stage], source: Artifact, context: Context, folder: Path, file: Path) -> Artifact:
    """Runs stages on an artifact; moves the last model file to `file` and removes what else they wrote.

    The outer stage scores the result, so that its metric decides. What the stages told of it lies in a file beside it,
    which `told_of` reads: another process may have made it.

    Args:
        stages: The stages, each of which takes the result of the one before it.
        source: Artifact that the first stage takes.
        context: Context of the outer stage.
        folder: Working folder of the stages.
        file: Path for the final model file.

    Returns:
        The artifact of the last stage, or `source` where there are no stages.
    """
    artifact = source
    artifacts = {**context.artifacts, source.name: source}
    told: list[str] = []
    remove(folder)
    for index, stage in enumerate(stages):
        own = folder / f"{index}-{stage.kind}"
        own.mkdir(parents=True)
        name = stage.name or stage.kind
        place = replace(context, name=name, folder=own, artifacts=artifacts)
        inner = replace(place, progress=Progress(), judged=True, tried=True, told=[])
        artifact = stage.run([artifact], inner)
        told += artifact.warnings
        artifacts[artifact.name] = artifact
    if not stages:
        return source
    record: dict[str, Any] = {"warnings": list(dict.fromkeys(told)), "details": {}, "skipped": []}
    if artifact.format == "tflite":
        record |= {"details": artifact.details, "skipped": [asdict(one) for one in artifact.skipped]}
    remove(file)
    write(_beside(file), seal({**record, "name": file.name, "digest": sha256_of(artifact.path)}))
    sync(artifact.path)
    rename(artifact.path, file)
    remove(folder)
    return replace(artifact, folder=file.parent, file=file.name)


@dataclass(frozen=True)
class Told:
    """What stages told of a file that they made inside of another stage.

    Args:
        warnings: The warnings of all of them, each once.
        details: The details of the last stage.
        skipped: The layers and ops that it left alone.
    """

    warnings: tuple[str, ...] = ()
    details: Details = field(default_factory=Details)
    skipped: tuple[Skipped, ...] = ()

    def of_file(self) -> list[Detail]:
        """The details that say what the file is."""
        return [one for kind in OF_FILE if (one := self.details.of(kind))]


def told_of(file: Path) -> Told:
    """What the stages that made a file told of it; nothing where that was not recorded."""
    record = _record(file)
    if record is None:
        return Told()
    skipped = tuple(Skipped(**one) for one in record["skipped"])
    return Told(tuple(record["warnings"]), Details.gather(record["details"]), skipped)


def is_made(file: Path) -> bool:
    """Whether a file is there as `run_stages` made it: neither cut short nor changed since, nor that of another."""
    record = _record(file)
    try:
        return record is not None and (record["name"], record["digest"]) == (file.name, sha256_of(file))
    except OSError:
        return False


def remove_made(file: Path) -> None:
    """Removes a file that `run_stages` made, and what they told of it."""
    remove(file)
    remove(_beside(file))


def _record(file: Path) -> dict[str, Any] | None:
    try:
        return unseal(_beside(file).read_bytes())
    except OSError:
        return None


def _beside(file: Path) -> Path:
    return file.with_suffix(".told.json")

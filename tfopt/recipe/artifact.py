"""Artifacts: one committed folder per result, with the model and an `artifact.json` on how it was made."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfopt.durable_files import sha256_of, write
from tfopt.recipe.details.detail import Details
from tfopt.recipe.details.device_files import DeviceFiles
from tfopt.recipe.details.quantization import ConversionWarnings
from tfopt.sealed_json import seal, unseal

Format = Literal["keras", "tflite"]
RECORD = "artifact.json"
SOURCE = "source"
BASELINE = "baseline"
TRAINED = "trained.keras"  # the Keras model of a `.tflite` of quantization-aware training
PARTIAL = ".partial"
OLD = ".old"
BACKUP = ".backup"
TENSORBOARD = "tensorboard"
KEY = ".key"
LOCK = ".lock"
OWNER = ".owner"
WORKERS = ".workers"
LOG = "run.log"
JOURNAL = ".journal"
PAGE = "report.html"
CARD = "model_card.md"
RECIPE = "recipe.yaml"
PROVENANCE = "provenance.json"
RESERVED = (BASELINE, LOG, RECIPE, PROVENANCE, "report.json", "report.md", PAGE, CARD)


def content_key(*parts: Any) -> str:
    """sha256 over the canonical JSON of the parts: equal keys mean equal inputs."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Skipped:
    """A layer or op that a stage left as it was, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Artifact:
    """One result of one stage.

    Args:
        name: The stage's name in the recipe; also the folder's.
        kind: The stage's kind, such as `prune`.
        folder: The artifact's folder.
        file: The model file, relative to the folder; a stage that only measures points at the file it measured.
        format: `keras` or `tflite`.
        key: Content key: the same key means the same inputs, settings and code.
        parents: Names of the artifacts it was made from; the first is the one that flowed through.
        metrics: Measured values by name: fractions 0-1, sizes in bytes, times in the unit of their name.
        scores: Names of the metrics that tell the model's accuracy, the gated one first.
        files: For stages that look at several files: the metrics of each, by the name of its stage.
        skipped: Layers or ops that were left alone, with the reason.
        details: Further results, such as the training history: typed details, or JSON by name.
        failed: The message of a gate that was not met, else None.
        seconds: Duration of the stage in seconds.
        environment: Machine and package versions that made the artifact.
        digest: sha256 of the model file; a file that was changed by hand is no longer this result.
        beside: The same of the other files in the folder, by path, but for those that a stage only worked with.
        made_from: The content keys of its parents, and of what its stage needed besides, by name.
    """

    name: str
    kind: str
    folder: Path
    file: str
    format: Format
    key: str
    parents: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    files: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    details: Details = field(default_factory=Details)
    failed: str | None = None
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    beside: dict[str, str] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "details", Details.gather(self.details))

    @property
    def path(self) -> Path:
        """The model file."""
        return Path(os.path.normpath(self.folder / self.file))

    @property
    def unchanged(self) -> bool:
        """Whether the model file is the one that was committed."""
        return _has(self.path, self.digest)

    @property
    def device_files(self) -> dict[str, Path]:
        """The files that were made for targets beside the `.tflite`, by target."""
        return {target: self.folder / name for target, (name, _) in self._for_devices.items()}

    @property
    def changed(self) -> tuple[str, ...]:
        """The files that are not as they were committed, or are gone: the model file, and all beside it."""
        others = {**self.beside, **dict(self._for_devices.values())}
        lost = tuple(name for name, sha256 in others.items() if not _has(self.folder / name, sha256))
        return (*(() if self.unchanged else (self.file,)), *lost)

    @property
    def _for_devices(self) -> dict[str, tuple[str, str]]:
        """Name and digest of each target's own file; a target that takes the `.tflite` itself has none."""
        recorded = self.details.of(DeviceFiles)
        return {one.target: (one.file, one.sha256) for one in recorded.files if one.file} if recorded else {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may make the result poor, each a line; empty where nothing points to it."""
        kept = self.details.of(ConversionWarnings)
        return kept.warnings if kept else ()

    def write(self) -> None:
        """Writes `artifact.json` into the folder."""
        record = asdict(self)
        del record["folder"]
        write(self.folder / RECORD, seal(record, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Artifact | None:
        """The artifact committed in a folder; None where there is none, or where it cannot be read."""
        try:
            record = unseal((folder / RECORD).read_bytes())
            if record is None:
                return None
            record["skipped"] = tuple(Skipped(**s) for s in record["skipped"])
            record["parents"] = tuple(record["parents"])
            record["scores"] = tuple(record.get("scores", ()))
            record["details"] = Details(record.get("details", {}))
            artifact = cls(folder=folder, **record)
            return artifact if artifact.path.is_file() and artifact._within(folder.parent) else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def _within(self, workspace: Path) -> bool:
        """Whether all its files are in the folder of the run, so that a record leads to nothing else of the machine."""
        root = workspace.resolve()
        files = (self.path, *self.device_files.values(), *(self.folder / name for name in self.beside))
        return all(path.resolve().is_relative_to(root) for path in files)


def _has(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and digest == sha256_of(path)
    except OSError:
        return False

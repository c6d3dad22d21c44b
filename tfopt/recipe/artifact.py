"""Artifacts: one committed folder per result, with the model and an `artifact.json` on how it was made.

A stage works in `<name>.partial`. The rename to `<name>` is the only moment a result appears, so a process that is
killed leaves either the whole result or none of it, and a partial folder to go on from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tfopt.durable_files import leftovers, remove, rename, sha256_of, storage_errors, sync_tree, write
from tfopt.errors import InUseError, StorageError
from tfopt.recipe.details.detail import Details
from tfopt.recipe.details.device_files import DeviceFiles
from tfopt.recipe.details.quantization import ConversionWarnings
from tfopt.recipe.environment import environment
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


@dataclass(frozen=True)
class Workspace:
    """The folder of one recipe's results, held by one process at a time."""

    root: Path

    @property
    def is_run(self) -> bool:
        """Whether the folder is that of a run, by what lies in it: results, finished or not, or their lock."""
        if (self.root / LOCK).is_file() or any(self.root.glob(f"*{PARTIAL}/{KEY}")):
            return True
        return any(self.root.glob(f"*/{RECORD}"))

    @contextlib.contextmanager
    def locked(self, way: str = "Choose another with --out.") -> Iterator[None]:
        """Holds the folder. The lock is the operating system's: it falls when its process dies, however it dies.

        Args:
            way: The sentence that helps where the folder cannot be written; that of a run if not given.

        Raises:
            InUseError: Another process holds it.
            StorageError: The folder cannot be written.
        """
        from filelock import FileLock, Timeout

        owner = self.root / OWNER
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / LOCK)
            lock.acquire(timeout=0)
        except Timeout:
            raise InUseError(
                f"{self.root} is in use by process {_holder(owner)}. Wait for it, or run with another --out."
            ) from None
        except OSError as error:
            raise StorageError(f"{self.root} cannot be written: {error.strerror}. {way}") from None
        try:
            with storage_errors(self.root):
                owner.write_text(f"{os.getpid()}\n")
                self._sweep()
            yield
        finally:
            with contextlib.suppress(OSError):
                owner.unlink(missing_ok=True)
            lock.release()

    def _sweep(self) -> None:
        """Removes remains of killed processes that no run resumes from."""
        for folder in (*self.root.glob(f"*{OLD}"), *self.root.glob(f"*/{BACKUP}")):
            if folder.parent.suffix != PARTIAL and folder.is_dir():
                remove(folder)
        for file in leftovers(self.root):
            remove(file)

    def remove_if_empty(self) -> None:
        """Removes the folder of a run without results, and its parent if that is empty."""
        left = {path.name for path in self.root.iterdir()}
        if left <= {LOCK, LOG, OWNER, WORKERS}:
            shutil.rmtree(self.root / WORKERS, ignore_errors=True)
            for name in left - {WORKERS}:
                (self.root / name).unlink()
            with contextlib.suppress(OSError):  # others' results keep the outer folder
                self.root.rmdir()
                self.root.parent.rmdir()

    def find(self, name: str, key: str) -> Artifact | None:
        """The committed artifact of that name, if it has this key and its files are as they were committed."""
        artifact = Artifact.read(self.root / name)
        return artifact if artifact and artifact.key == key and not artifact.changed else None

    def begun(self, name: str, key: str) -> bool:
        """Whether a partial folder of that key exists."""
        try:
            return (self.partial(name) / KEY).read_bytes() == key.encode()
        except OSError:  # another process may be removing it
            return False

    def unfinished(self) -> dict[str, int]:
        """The stages that were begun and are not committed, each with the epochs that its checkpoint has."""
        found = {}
        for key in sorted(self.root.glob(f"*{PARTIAL}/{KEY}")):
            epochs = (path.stem.rpartition("-")[2] for path in key.parent.glob(f"{BACKUP}/epoch-*"))
            found[key.parent.stem] = max((int(number) for number in epochs if number.isdecimal()), default=0)
        return found

    def partial(self, name: str) -> Path:
        """The partial folder of a result."""
        return self.root / f"{name}{PARTIAL}"

    def begin(self, name: str, key: str, keep: Sequence[str] = (BACKUP,)) -> Path:
        """The folder to work in: the partial one of an earlier try with the same key, else a new one.

        Args:
            name: Name of the result.
            key: Its content key.
            keep: Names of what the stage goes on from; everything else that an earlier try has left is removed.
        """
        folder = self.partial(name)
        with storage_errors(folder):
            if not self.begun(name, key):
                remove(folder)
                folder.mkdir(parents=True)
                write(folder / KEY, key)
            for left in folder.iterdir():
                if left.name != KEY and not any(left.match(pattern) for pattern in keep):
                    remove(left)
        return folder

    def commit(self, artifact: Artifact, work: Sequence[str] = ()) -> Artifact:
        """Makes a finished partial folder the result of its name, in place of any older one, once it is on the disk.

        Args:
            artifact: The result, in its partial folder.
            work: Names in the folder, with `*` for any letters, of what the stage only worked with; it is kept, and may
                change.
        """
        final, old = self.root / artifact.name, self.root / f"{artifact.name}{OLD}"
        with storage_errors(artifact.folder):
            beside = {name: sha256_of(artifact.folder / name) for name in _beside(artifact, work)}
            digest = sha256_of(artifact.path)
            artifact = replace(artifact, environment=environment(), digest=digest, beside=beside)
            artifact.write()
            sync_tree(artifact.folder, skip=BACKUP)
            if final.is_dir() and not final.is_symlink():
                remove(old)
                rename(final, old)
            else:  # nothing, or what is no result
                remove(final)
            rename(artifact.folder, final)
        self._sweep()
        return replace(artifact, folder=final)

    def artifacts(self) -> list[Artifact]:
        """Every committed artifact, in order of creation."""
        found = [Artifact.read(path.parent) for path in self.root.glob(f"*/{RECORD}") if path.parent.suffix != PARTIAL]
        made = {artifact.name: artifact for artifact in filter(None, found)}
        whole = [artifact for name, artifact in made.items() if name not in _ancestors(artifact, made)]
        return sorted(whole, key=lambda a: (a.folder / RECORD).stat().st_mtime)


def _holder(owner: Path) -> str:
    """The process that holds a folder, which may be letting it go at this moment."""
    try:
        return owner.read_text(errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"


def _ancestors(artifact: Artifact, others: Mapping[str, Artifact]) -> set[str]:
    """The names of all that an artifact was made from; its own is among them where records lead in a circle."""
    found: set[str] = set()
    queue = list(artifact.parents)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += others[name].parents if name in others else ()
    return found


def _beside(artifact: Artifact, work: Sequence[str]) -> Iterator[str]:
    """The paths of the files of a result beside its model, its record and what is hidden or was only worked with."""
    root = artifact.folder
    for folder, inner, files in os.walk(root):
        place = Path(folder).relative_to(root)
        if not place.parts:  # folders of work are not looked into: others may be removing them
            inner[:] = [name for name in inner if not any(Path(name).match(one) for one in work)]
            files = [name for name in files if name != RECORD and not any(Path(name).match(one) for one in work)]
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(files):
            path = root / place / name
            if not name.startswith(".") and path != artifact.path and path.is_file():
                yield (place / name).as_posix()


def _has(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and digest == sha256_of(path)
    except OSError:
        return False

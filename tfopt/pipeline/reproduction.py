"""Running a recipe again elsewhere, to see whether the same bytes come out."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.durable_files import DAMAGED
from tfopt.errors import GateError, InputError
from tfopt.output_capture import captured
from tfopt.pipeline import runner
from tfopt.pipeline.plan import Plan
from tfopt.pipeline.provenance import changed, check_pair, inputs_of, recorded
from tfopt.recipe.artifact import KEY, RECORD, SOURCE, TENSORBOARD, Artifact
from tfopt.recipe.environment import environment
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe
from tfopt.recipe.workspace import Workspace
from tfopt.search.tuning.roles import PROJECT

# What lies in a result's folder and is not the result: records, logs and the state of a tuner.
_NOT_COMPARED = (RECORD, KEY, TENSORBOARD, PROJECT, f"{PROJECT}{DAMAGED}")
_NAMED = 3


@dataclass(frozen=True)
class OtherVersion:
    """A package, or the machine, that is not what the results were made with.

    Args:
        name: Its name.
        then: Its version then; None where it was not there.
        now: Its version now; None where it is not there.
    """

    name: str
    then: str | None
    now: str | None

    def __str__(self) -> str:
        return f"{self.name}: {self.then or 'none'} then, {self.now or 'none'} now"


@dataclass(frozen=True)
class ComparedFile:
    """A file of a run and the one that was made again.

    Args:
        file: Its path in the run's folder.
        size: Its bytes then; None where it was not there.
        difference: What differs; empty where all bytes are the same.
    """

    file: str
    size: int | None
    difference: str = ""


@dataclass(frozen=True)
class Reproduction:
    """What came of running a recipe again.

    Args:
        versions: What was of another version.
        files: The files of all results.
        folder: Where the run is that was made again.
    """

    versions: tuple[OtherVersion, ...]
    files: tuple[ComparedFile, ...]
    folder: Path

    @property
    def same(self) -> bool:
        """Whether there are files, and all have the same bytes."""
        return bool(self.files) and not any(file.difference for file in self.files)

    def as_record(self) -> dict[str, Any]:
        """The reproduction as plain data."""
        files = [asdict(file) for file in self.files]
        return {"same": self.same, "versions": [asdict(one) for one in self.versions], "files": files}


def other_versions(folder: Path) -> tuple[OtherVersion, ...]:
    """The packages and parts of the machine that are not what the results in a folder were made with."""
    now = environment()
    found = {}
    for artifact in Workspace(folder).artifacts():
        then = artifact.environment
        for name in {**then, **now}:
            if then.get(name) != now.get(name):
                found[name] = OtherVersion(name, then.get(name), now.get(name))
    return tuple(found.values())


def check_inputs(folder: Path, recipe: Recipe) -> None:
    """Checks that a recipe's seed, model, data, code and settings are those of the results in a folder.

    Raises:
        InputError: They are not, or the folder has no record of them, or one that is not of its recipe.
    """
    then = recorded(folder)
    if then is None:
        raise InputError(f"{folder} has no record of what it was made from. Run its recipe once more: tfopt run.")
    check_pair(folder, then)
    with captured():
        now = inputs_of(Plan(recipe, Path(), Progress()))
    if other := changed(then, now):
        raise InputError(
            f"{' and '.join(other)} {'is' if len(other) == 1 else 'are'} not what {folder} was made from: the same "
            "bytes cannot come out. Nothing was computed."
        )


def reproduce(folder: Path, recipe: Recipe, out: Path, progress: Progress | None = None) -> Reproduction:
    """Runs a recipe again in another folder, and compares all files of its results with those of a run.

    Args:
        folder: The run's folder.
        recipe: Its recipe.
        out: The folder for the new results, which holds none of the recipe's yet.
        progress: Receives the progress of the run.

    Raises:
        InputError: `folder` holds no results, `out` does already, or the inputs are not what it was made from.
        TfoptError: What the run raises.
    """
    folder, place = folder.resolve(), out.resolve() / recipe.name
    if not Workspace(folder).artifacts():
        raise InputError(f"{folder} holds no results. Name a run's folder, such as saved_models/digits.")
    if place == folder:
        raise InputError(f"{folder} is the run itself. Name another folder with --out.")
    if Workspace(place).is_run:
        raise InputError(f"{place} holds results already, which prove nothing. Name another folder with --out.")
    check_inputs(folder, recipe)
    try:
        result = runner.run(recipe, out, progress)
    except GateError as error:  # which is a result as well
        result = error.result
    if result.reused:
        raise InputError(
            f"{place} was filled by another run meanwhile: {', '.join(result.reused)} proves nothing. Name another "
            "folder with --out."
        )
    names = (SOURCE, *(step.name for step in recipe.chain()))
    files = [one for name in names for one in _compared(name, folder / name, result.folder / name)]
    return Reproduction(other_versions(folder), tuple(files), result.folder)


def _compared(stage: str, then: Path, now: Path) -> Iterator[ComparedFile]:
    """The files of a stage's folder; its record is one of them only where it cannot be read on a side."""
    for folder, when in ((then, "then"), (now, "now")):
        if Artifact.read(folder) is None:
            yield ComparedFile(f"{stage}/{RECORD}", None, f"is damaged or was not there {when}")
    for name in sorted({*_files(then), *_files(now)}):
        before, after = then / name, now / name
        file = f"{stage}/{name}"
        if not before.is_file():
            yield ComparedFile(file, None, "was not there then")
        elif not after.is_file():
            yield ComparedFile(file, before.stat().st_size, "is not there now")
        else:
            content = before.read_bytes()
            yield ComparedFile(file, len(content), difference(name, content, after.read_bytes()))


def _files(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [path.as_posix() for path in found if not set(path.parts).intersection(_NOT_COMPARED)]


def difference(name: str, then: bytes, now: bytes) -> str:
    """What differs between two contents of a file, in words; empty where they are the same."""
    if then == now:
        return ""
    parts = _parts(name, then), _parts(name, now)
    either = {**parts[0], **parts[1]} if all(parts) else {}  # of one that is damaged nothing is known
    others = [part for part in either if parts[0].get(part) != parts[1].get(part)]
    shown = f" in {', '.join(others[:_NAMED])}{f' and {len(others) - _NAMED} more' if len(others) > _NAMED else ''}"
    if len(then) != len(now):
        return f"{len(then):,} bytes then, {len(now):,} now{shown if others else ''}"
    places = np.flatnonzero(np.frombuffer(then, np.uint8) != np.frombuffer(now, np.uint8))
    return f"{len(places):,} of {len(then):,} bytes{shown if others else ''}, the first at {places[0]:#x}"


def _parts(name: str, content: bytes) -> Mapping[str, bytes]:
    """The members of a `.keras` file, or the constants of a `.tflite`, by name; nothing of any other or damaged one."""
    try:
        if name.endswith(".keras"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return {member: archive.read(member) for member in archive.namelist()}
        return _constants(content) if name.endswith(".tflite") else {}
    except Exception:  # whatever the readers meet in damaged bytes, which differ all the same
        return {}


def _constants(content: bytes) -> dict[str, bytes]:
    """The constants of a `.tflite` by the names of their tensors."""
    from tfopt.tflite.file import parse

    model, found = parse(content)[1], {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None:
                found[(tensor.name or b"a tensor without a name").decode(errors="replace")] = bytes(data)
    return found

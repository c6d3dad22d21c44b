"""What has to hold after a fault: nothing half-written is taken for whole, and the rerun ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.fork_server import Finished
from tfopt.durable_files import DAMAGED
from tfopt.recipe.artifact import JOURNAL, LOCK, LOG, OLD, OWNER, PARTIAL, RECORD, TENSORBOARD, Artifact

# Lines that may stand beside the one that says why a run could not go on: of results, and at once after a signal.
BESIDE = ("warning:", "stopping...")
FRONT = "front"
# Files that have times in them, and those that only a process that holds the folder writes.
OF_EACH_RUN = {RECORD, LOG, LOCK, OWNER, "report.json", "report.md", "report.html", "model_card.md"}


@dataclass(frozen=True)
class Results:
    """The committed results of a run.

    Args:
        keys: The key of each result by name.
        models: sha256 of what the model file of each holds, by name.
        files: The same of every file that is the same at every run, by its path.
    """

    keys: Mapping[str, str]
    models: Mapping[str, str]
    files: Mapping[str, str]


def results(folder: Path) -> Results:
    """The committed results in the folder of a run."""
    keys, models, files = {}, {}, {}
    for artifact in _artifacts(folder):
        keys[artifact.name], models[artifact.name] = artifact.key, content_of(artifact.path)
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        if file.is_file() and file.name not in OF_EACH_RUN and not _passing(place):
            content = content_of(file)
            # A candidate that is made again has another number, and its file that for a name.
            files[str(place.with_name(content[:16]) if FRONT in place.parts else place)] = content
    return Results(keys, models, files)


def taken_for_whole(folder: Path, expected: Results) -> list[str]:
    """The results that the next run would take, of other bytes than the run that nothing went wrong in."""
    wrong = []
    for artifact in _artifacts(folder):
        taken = not artifact.changed and artifact.key == expected.keys.get(artifact.name)
        if taken and content_of(artifact.path) != expected.models[artifact.name]:
            wrong.append(f"{artifact.name} is taken for whole")
    return wrong


def differences(folder: Path, expected: Results) -> list[str]:
    """How the results in a folder differ from those that they should be; what is left over counts."""
    found, wrong = results(folder), []
    for what in ("keys", "models", "files"):
        ours, theirs = getattr(found, what), getattr(expected, what)
        wrong += [f"{name} is missing" for name in theirs.keys() - ours.keys()]
        wrong += [f"{name} is left over" for name in ours.keys() - theirs.keys()]
        wrong += [
            f"{what[:-1]} of {name} differs" for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]
        ]
    wrong += [f"{path.name} is left over" for path in folder.glob(f"*{PARTIAL}")]
    wrong += [f"{path.name} is left over" for path in folder.glob(f"*{OLD}")]
    return wrong


def answer(finished: Finished, code: int = 1) -> list[str]:
    """What is wrong with how a run that could not go on has ended: it says why in a line, and with an exit code."""
    wrong = []
    if finished.code < 0:
        wrong.append(f"ended by signal {-finished.code}")
    elif finished.code != code:
        wrong.append(f"exit code {finished.code}")
    if "Traceback" in finished.errors or "The whole story" in finished.errors:
        wrong.append("a traceback")
    lines = [line for line in finished.errors.splitlines() if line.strip() and not line.startswith(BESIDE)]
    if finished.code >= 0 and len(lines) != 1:
        wrong.append(f"{len(lines)} lines")
    return wrong


def last_lines(finished: Finished, count: int = 6) -> str:
    """The end of what a process printed, as evidence."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", finished.errors)
    return " | ".join(text.splitlines()[-count:])[-1500:]


def names(folder: Path) -> set[str]:
    """The paths in a folder, with a star for what is new in each process; TensorBoard's have times in them."""
    paths = (path.relative_to(folder) for path in folder.rglob("*"))
    numbers = re.compile(r"\.\d+-[0-9a-f]+(?=\.new$)|(?<=\.lock)[-0-9a-f]{36}(?=\.rename$)")
    return {numbers.sub("*", str(path)) for path in paths if TENSORBOARD not in path.parts}


def content_of(file: Path) -> str:
    """sha256 of what a file holds: of a `.keras` file all but the times at which it and its members were written."""
    if file.suffix != ".keras" or not zipfile.is_zipfile(file):
        return hashlib.sha256(file.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            member = archive.read(name)
            if name == "metadata.json":
                member = json.dumps({**json.loads(member), "date_saved": ""}).encode()
            whole.update(name.encode() + hashlib.sha256(member).digest())
    return whole.hexdigest()


def _artifacts(folder: Path) -> Iterator[Artifact]:
    for record in sorted(folder.glob(f"*/{RECORD}")):
        if record.parent.suffix not in (PARTIAL, OLD) and (artifact := Artifact.read(record.parent)):
            yield artifact


def _passing(place: Path) -> bool:
    """Whether a path is of what lies in a run's folder only while it runs, was damaged and is kept, or is a record."""
    passing = place.parts[0].endswith((PARTIAL, OLD)) or place.name.startswith(".")
    damaged = any(part.endswith(DAMAGED) for part in place.parts)
    return passing or damaged or place.suffix == JOURNAL or TENSORBOARD in place.parts

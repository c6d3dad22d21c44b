"""Every fault at every call of what a run writes without TensorFlow: results, records, reports, and a search's journal.

A process that has imported them forks for each fault, so that one takes some milliseconds. What came of each is a line
of JSON on standard output.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from tests.faults import survival
from tests.faults.faults import KILL, FailingCalls
from tfopt.durable_files import storage_errors, write
from tfopt.errors import TfoptError
from tfopt.recipe.artifact import Artifact, Workspace, content_key
from tfopt.report import summary

ERRORS = {"SIGKILL": KILL, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
TRIALS = 4


def results(root: Path) -> None:
    """Three results, the recipe and the reports in the folder of a run; those that are there are kept."""
    workspace, artifacts = Workspace(root), {}
    with workspace.locked():
        parents: tuple[str, ...] = ()
        for name, kind, format, size in (
            ("source", "source", "keras", 3000),
            ("train", "train", "keras", 70_000),
            ("quantize", "quantize", "tflite", 9000),
        ):
            key = content_key(name)
            if (found := workspace.find(name, key)) is None:
                folder, file = workspace.begin(name, key), f"model.{format}"
                with storage_errors(folder):
                    write(folder / file, random.Random(name).randbytes(size))
                scores = {} if name == "source" else {"accuracy": 0.5}
                made = Artifact(name, kind, folder, file, format, key, parents, scores, tuple(scores))  # type: ignore[arg-type]
                found = workspace.commit(made)
            artifacts[name], parents = found, (name,)
        with storage_errors(root):
            write(root / "recipe.yaml", "name: r\n")
            summary.write(artifacts, root)


def journal(root: Path) -> None:
    """So many trials in a search's journal; those that are there are kept."""
    import optuna

    from tfopt.search.journal import Journal

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.JournalStorage(Journal(root / "search.journal", 1))
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
        while (number := sum(trial.state.is_finished() for trial in study.trials)) < TRIALS:
            study.add_trial(optuna.trial.create_trial(value=float(number)))


def differences_of_results(root: Path, whole: Path) -> list[str]:
    """How the results differ from those of a run that nothing went wrong in."""
    return survival.differences(root, survival.results(whole))


def differences_of_journal(root: Path, whole: Path) -> list[str]:
    """How the trials differ from those of a run that nothing went wrong in."""
    import optuna

    from tfopt.search.journal import Journal

    def values(folder: Path) -> list[float | None]:
        storage = optuna.storages.JournalStorage(Journal(folder / "search.journal", 1))
        return [trial.value for trial in optuna.load_study(storage=storage, study_name="s").trials]

    found, expected = values(root), values(whole)
    return [] if found == expected else [f"trials {found}, not {expected}"]


WORK: dict[str, tuple[Callable[[Path], None], Callable[[Path, Path], list[str]]]] = {
    "results": (results, differences_of_results),
    "journal": (journal, differences_of_journal),
}


def forked(action: Callable[[], None]) -> tuple[int, str]:
    """Exit code of a fork that does something, negative where a signal ended it, and what it said of an error."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        code, said = 0, ""
        try:
            action()
        except TfoptError as error:
            code, said = error.exit_code, str(error)
        except BaseException:
            code, said = 70, traceback.format_exc()
        os.write(writing, said.encode()[-4000:])
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


def faults(name: str, library: Path, folder: Path, limit: int) -> Iterator[dict[str, object]]:
    """Tries each error at each call, and series of them, one in the rerun after another; at most so many of each."""
    work, differences = WORK[name]
    whole = folder / "whole"

    def at(root: Path, call: int, error: int) -> Callable[[], None]:
        calls = {"calls": 1} if error == errno.EIO else {}  # a disk stays full

        def run() -> None:
            with FailingCalls(library, root, call, error, counted=None if call else folder / "calls", **calls).armed():
                work(root)

        return run

    work(folder / "warm")  # forks have what is imported and compiled by it
    code, said = forked(at(whole, 0, 0))
    if code:
        raise RuntimeError(said)
    count = int((folder / "calls").read_text())
    single = [((kind, call),) for kind in ERRORS for call in range(1, count + 1)]
    generator = random.Random(name)
    several = [
        tuple((generator.choice(list(ERRORS)), generator.randint(1, count)) for _ in range(3)) for _ in range(count)
    ]
    chosen = [generator.sample(kind, min(limit, len(kind))) for kind in (single, several)]
    for number, series in enumerate(chain.from_iterable(chosen)):
        root, problems = folder / str(number), []
        for kind, call in series:
            code, said = forked(at(root, call, ERRORS[kind]))
            ended = code in (0, -9) if kind == "SIGKILL" else code in (0, 1) and len(said.splitlines()) == (code != 0)
            if not ended:
                problems.append(f"{kind} at call {call} ended with {code}: {said[-500:]}")
        code, said = forked(lambda root=root: work(root))
        problems += [f"the rerun ended with {code}: {said[-500:]}"] if code else differences(root, whole)
        kinds = " then ".join(kind for kind, _ in series) if len(series) == 1 else "one after another"
        where = ", ".join(f"{kind} at call {call} of {count}" for kind, call in series)
        yield {"kind": f"{kinds} ({name})", "where": where, "problems": problems}
        if not problems:
            shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    """Tries faults of one kind of work: `python -m tests.faults.ground_floor NAME LIBRARY FOLDER LIMIT`."""
    name, library, folder, limit = sys.argv[1:]
    tempfile.tempdir = folder
    for line in faults(name, Path(library), Path(folder), int(limit)):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

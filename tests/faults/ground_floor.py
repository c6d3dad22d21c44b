"""Every fault at every call of what a run writes without TensorFlow: results, records, reports, and a search's journal.

A process that has imported them forks for each fault, so that one takes some milliseconds. What came of each is a line
of JSON on standard output.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from tests.faults import survival
from tests.faults.damage import cases
from tests.faults.faults import FOR_GOOD, KILL, FailingCalls, Fault, Limited
from tfopt.durable_files import storage_errors, write
from tfopt.errors import TfoptError
from tfopt.recipe.artifact import Artifact, content_key
from tfopt.recipe.workspace import Workspace
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
        code, said = answered(action)
        os.write(writing, said.encode()[-4000:])
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


class Ground:
    """Work that is tried with faults.

    Args:
        name: Which of `WORK`.
        library: The library of `failing_calls.c`.
        folder: Folder for what it writes.
    """

    def __init__(self, name: str, library: Path, folder: Path):
        self.name, self._library, self._folder = name, library, folder
        self.work, self._differences = WORK[name]
        self.whole, self.generator = folder / "whole", random.Random(name)
        self.work(folder / "warm")  # forks have what is imported and compiled by it
        code, said = forked(
            lambda: self.under(FailingCalls(library, self.whole, 0, counted=folder / "calls"), self.whole)
        )
        if code:
            raise RuntimeError(said)
        self.count = int((folder / "calls").read_text())
        self._numbers, self._missed = count(), 0

    def under(self, fault: Fault, root: Path) -> None:
        """Does the work with a fault."""
        with fault.armed():
            self.work(root)

    def by_call(self, kind: str, call: int) -> Callable[[Path], list[str]]:
        """A kind of fault at a call, for `tried`."""
        error = ERRORS[kind]

        def run(root: Path) -> list[str]:
            calls = 1 if error == errno.EIO else FOR_GOOD  # a disk stays full
            counted = self._folder / "calls"
            counted.unlink(missing_ok=True)
            fault = FailingCalls(self._library, root, call, error, calls, counted)
            code, said = forked(lambda: self.under(fault, root))
            self._missed += not fault.befell(code)
            return [] if kind == "SIGKILL" and code == -9 else refused(code, said)

        return run

    def by_limit(self, limit: int, value: int) -> Callable[[Path], list[str]]:
        """A limit of the operating system, for `tried`."""
        return lambda root: refused(*forked(lambda: self.under(Limited(limit, value), root)))

    def by_damage(self, file: Path, damage: Callable[[Path, Path], None]) -> Callable[[Path], list[str]]:
        """Damage to one file of the whole results, for `tried`."""

        def run(root: Path) -> list[str]:
            shutil.copytree(self.whole, root, symlinks=True)
            damage(root / file, root)
            return []

        return run

    def by_company(self, number: int, seconds: float) -> Callable[[Path], list[str]]:
        """So many processes that start so far apart, the first of which is killed in the end, for `tried`."""

        def run(root: Path) -> list[str]:
            processes = []
            for _ in range(number):
                process = os.fork()
                if not process:
                    code, _ = answered(lambda: self.work(root))
                    os._exit(code)
                processes.append(process)
                time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(processes[0], signal.SIGKILL)
            codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
            return [] if set(codes) <= {0, 1, -9} else [f"they ended with {codes}"]

        return run

    def by_disk(self, options: str, freed: str) -> Callable[[Path], list[str]]:
        """A small file system in memory, which has more room in the rerun, for `tried`."""

        def run(root: Path) -> list[str]:
            root.mkdir()
            mount(root, "-t", "tmpfs", "-o", options, "tmpfs")
            found = refused(*forked(lambda: self.work(root)))
            mount(root, "-o", f"remount,{freed}")
            return found

        return run

    def tried(self, kind: str, where: str, *faults: Callable[[Path], list[str]]) -> dict[str, object]:
        """Tries faults, one in the rerun after another, and what is there after a rerun without any.

        Where the work ended before each of the calls that were to fail, it counts for no fault.
        """
        root, self._missed = self._folder / str(next(self._numbers)), 0
        problems = [problem for fault in faults for problem in fault(root)]
        code, said = forked(lambda: self.work(root))
        problems += [f"the rerun ended with {code}: {said[-500:]}"] if code else self._differences(root, self.whole)
        if root.is_mount():
            subprocess.run(["umount", root], check=True)
        if not problems:
            shutil.rmtree(root)
        points = int(self._missed < len(faults))
        return {"kind": f"{kind} ({self.name})", "where": where, "problems": problems, "points": points}


def answered(action: Callable[[], None]) -> tuple[int, str]:
    """The exit code of an action as of a command, and what it said of an error."""
    try:
        action()
    except TfoptError as error:
        return error.exit_code, str(error)
    except BaseException:
        return 70, traceback.format_exc()
    return 0, ""


def refused(code: int, said: str) -> list[str]:
    """What is wrong with how a fault was answered: it does no harm, or is a line and exit code 1."""
    held = code == 0 or (code == 1 and len(said.splitlines()) == 1)
    return [] if held else [f"ended with {code}: {said[-500:]}"]


def calls(ground: Ground, limit: int) -> Iterator[dict[str, object]]:
    """Each error at each call, and series of three; at most so many of either."""
    every = [(kind, call) for kind in ERRORS for call in range(1, ground.count + 1)]
    for kind, call in ground.generator.sample(every, min(limit, len(every))):
        yield ground.tried(kind, f"call {call} of {ground.count}", ground.by_call(kind, call))
    for _ in range(min(limit, ground.count)):
        series = [ground.generator.choice(every) for _ in range(3)]
        where = ", ".join(f"{kind} at call {call} of {ground.count}" for kind, call in series)
        yield ground.tried("one after another", where, *(ground.by_call(*one) for one in series))


def damages(ground: Ground, limit: int) -> Iterator[dict[str, object]]:
    """Each damage to each file."""
    every = cases(ground.whole)
    for file, damage in ground.generator.sample(every, min(limit, len(every))):
        yield ground.tried(f"file {damage.__name__}", str(file), ground.by_damage(file, damage))


def limits(ground: Ground, limit: int) -> Iterator[dict[str, object]]:
    """Few descriptors, and files that may not grow."""
    every = [("few descriptors", resource.RLIMIT_NOFILE, value) for value in range(3, 33)]
    every += [("EFBIG", resource.RLIMIT_FSIZE, value) for value in range(0, 100_000, 2500)]
    for kind, number, value in ground.generator.sample(every, min(limit, len(every))):
        yield ground.tried(kind, str(value), ground.by_limit(number, value))


def company(ground: Ground, limit: int) -> Iterator[dict[str, object]]:
    """Two or three processes at once, of which the first is killed."""
    for number in range(min(limit, 100)):
        together, seconds = 2 + number % 2, ground.generator.uniform(0, 0.05)
        where = f"{together}, {seconds * 1000:.1f} ms apart"
        yield ground.tried("processes at once", where, ground.by_company(together, seconds))


def disks(ground: Ground, limit: int) -> Iterator[dict[str, object]]:
    """Small disks, disks for few files, and one that cannot be written; nothing where none can be mounted."""
    try:
        mount(ground.whole, "--bind", str(ground.whole))
    except (OSError, subprocess.CalledProcessError):
        return
    subprocess.run(["umount", ground.whole], check=True)
    every = [("small disk", f"size={pages * 4}k", "size=16m") for pages in range(1, 81)]
    every += [("few inodes", f"nr_inodes={count}", "nr_inodes=1000") for count in range(2, 42)]
    every += [("read-only", "ro", "rw")]
    for kind, options, freed in ground.generator.sample(every, min(limit, len(every))):
        yield ground.tried(kind, options, ground.by_disk(options, freed))


def mount(folder: Path, *options: str) -> None:
    """Mounts a file system, or mounts it again with other options.

    Raises:
        subprocess.CalledProcessError: It is not allowed here.
    """
    subprocess.run(["mount", *options, folder], check=True, capture_output=True)


WAYS = {way.__name__: way for way in (calls, damages, limits, company, disks)}


def main() -> None:
    """Tries faults: `python -m tests.faults.ground_floor WORK WAY LIBRARY FOLDER LIMIT`."""
    name, way, library, folder, limit = sys.argv[1:]
    tempfile.tempdir = folder
    for line in WAYS[way](Ground(name, Path(library), Path(folder)), int(limit)):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

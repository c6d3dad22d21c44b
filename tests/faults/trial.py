"""One fault, tried: a run that it befalls, what that leaves, and the rerun that has to end as if nothing had been."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.faults import images, survival
from tests.faults.evidence import Evidence
from tests.faults.faults import FailingCalls, Fault, Recorded, TemporaryFolder
from tests.faults.fork_server import Finished, ForkServer
from tests.faults.project import recipe_of

# TensorFlow removes these when a process ends by itself, which forked ones do not.
AUTOGRAPH = "__autograph_generated_file"


class Bench:
    """Runs recipes of a project with and without faults.

    Args:
        server: Forks the processes.
        project: Folder of the project.
        folder: Folder for what the runs write; what came to a good end is removed.
        evidence: Gets each fault.
    """

    def __init__(self, server: ForkServer, project: Path, folder: Path, evidence: Evidence):
        self.server, self.project, self.evidence = server, project, evidence
        self._folder, self._numbers = folder, itertools.count()
        self._calls: dict[str, int] = {}
        self._lock = threading.Lock()
        self._whole: dict[str, tuple[Path, survival.Results, Finished]] = {}

    def new_folder(self) -> Path:
        """A folder that nothing is in."""
        folder = self._folder / f"{next(self._numbers):05d}"
        folder.mkdir(parents=True)
        return folder

    def run(self, name: str, out: Path, *faults: Fault, **environment: str) -> Finished:
        """Runs a recipe to its end."""
        return self.server.run(self.arguments(name, out), self.project, *faults, **environment)

    def arguments(self, name: str, out: Path) -> list[str]:
        """The words of the command that runs a recipe."""
        return ["run", str(recipe_of(self.project, name)), "--out", str(out)]

    def whole(self, name: str) -> tuple[Path, survival.Results]:
        """The folder with the results of a recipe that nothing went wrong in, not to be changed, and the results."""
        return self._undisturbed(name)[:2]

    def seconds(self, name: str) -> float:
        """How long a recipe runs."""
        return self._undisturbed(name)[2].seconds

    def images(self, name: str) -> list[images.Remains]:
        """What is left of a recipe's run that ends at any of its points."""
        return images.read(self._undisturbed(name)[0].parent / "images")

    def calls(self, name: str, library: Path) -> int:
        """How many calls of the C library change what is in the folder of a recipe's results."""
        if name not in self._calls:
            out = self.new_folder()
            counted = out / "calls"
            finished = self.run(name, out, FailingCalls(library, out / name, 0, counted=counted))
            if finished.code:
                raise RuntimeError(f"{name} cannot run: {finished.errors[-2000:]}")
            self._calls[name] = int(counted.read_text())
        return self._calls[name]

    def _undisturbed(self, name: str) -> tuple[Path, survival.Results, Finished]:
        with self._lock:
            if name not in self._whole:
                folder = self.new_folder()
                finished = self.run(name, folder, Recorded(folder / name, folder / "images"))
                if finished.code:
                    raise RuntimeError(f"{name} cannot run: {finished.errors[-2000:]}")
                self._whole[name] = folder / name, survival.results(folder / name), finished
            return self._whole[name]

    def rerun(self, name: str, out: Path) -> list[str]:
        """Runs a recipe where a fault has left something; returns what is not as it would be without."""
        expected = self.whole(name)[1]
        wrong = survival.taken_for_whole(out / name, expected)
        temporary = self.new_folder()
        finished = self.run(name, out, TemporaryFolder(temporary), TMPDIR=str(temporary))
        if finished.code:
            return [*wrong, f"the rerun ended with {finished.code}: {survival.last_lines(finished)}"]
        left = {path.name for path in temporary.iterdir() if not path.name.startswith(AUTOGRAPH)}
        wrong += [f"{name} is left over in the temporary folder" for name in sorted(left)]
        return wrong + survival.differences(out / name, expected)

    def put(self, kind: str, name: str, where: str, prepare: Callable[[Path], None], points: int = 1) -> list[str]:
        """Tries what was left on the disk: `prepare` puts it into the folder of the results, and the recipe is rerun.

        Returns:
            What did not hold, for the message of a test.
        """
        self.whole(name)
        out = self.new_folder()
        prepare(out / name)
        return self.noted(kind, name, where, self.rerun(name, out), out, points)

    def befall(
        self,
        kind: str,
        name: str,
        where: str,
        faults: Callable[[Path], Sequence[Fault]],
        may_die: bool = False,
        out: Path | None = None,
        freed: Callable[[], object] = lambda: None,
        **environment: str,
    ) -> list[str]:
        """Tries a fault of a run, which has to say in a line why it cannot go on, or to go on.

        A run that ends before the call that was to fail is looked at all the same, and counts for no fault.

        Args:
            kind: The kind of fault.
            name: The recipe.
            where: Where the fault is.
            faults: What goes wrong in the process, for the folder of the results.
            may_die: Whether the process may be ended by a signal, as by one that the fault sends.
            out: Folder for results; a new one if not given.
            freed: Called before the rerun.
            **environment: Variables of the process's environment.

        Returns:
            What did not hold, for the message of a test.
        """
        self.whole(name)
        out = out or self.new_folder()
        given = [
            replace(fault, counted=self.new_folder() / "calls") if isinstance(fault, FailingCalls) else fault
            for fault in faults(out / name)
        ]
        finished = self.run(name, out, *given, **environment)
        befell = all(fault.befell(finished.code) for fault in given if isinstance(fault, FailingCalls))
        wrong = [] if finished.code == 0 or (may_die and finished.code < 0) else survival.answer(finished)
        said = survival.last_lines(finished)
        freed()
        wrong += self.rerun(name, out)
        return self.noted(kind, name, where, wrong, out, int(befell), code=finished.code, said=said)

    def noted(
        self, kind: str, name: str, where: str, wrong: list[str], out: Path, points: int = 1, **more: object
    ) -> list[str]:
        """Notes a fault; returns what did not hold, and removes the folder where all did."""
        self.evidence.add(kind, f"{name}: {where}", wrong, points, **more)
        if not wrong:
            shutil.rmtree(out, ignore_errors=True)
        return [f"{kind}, {name}, {where}: {'; '.join(wrong)} {more or ''}"] if wrong else []

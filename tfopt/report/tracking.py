"""A run of a recipe as the run of a tracker, in what all trackers share: when it is told what, and what goes wrong."""

from __future__ import annotations

import sys
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from tfopt.errors import TfoptWarning
from tfopt.output_capture import captured
from tfopt.recipe.artifact import CARD, PAGE, PROVENANCE, RECIPE, SOURCE, Artifact
from tfopt.recipe.progress import Progress

PROJECT = "tfopt"
REPORTS = (PAGE, "report.md", "report.json", RECIPE, PROVENANCE, CARD)
# Of the process that ended: exit codes of a shell.
FINISHED, FAILED, KILLED = 0, 1, 130


class TrackerProgress(Progress):
    """Records a run of a recipe with a tracker; where that fails during the run, it is said once and the run goes on.

    Args:
        notify: Takes the line that says what the tracker failed at; a `TfoptWarning` if not given.
    """

    tracker: ClassVar[str]

    def __init__(self, notify: Callable[[str], None] | None = None):
        self._notify = notify or (lambda line: warnings.warn(line, TfoptWarning, stacklevel=2))
        self._recording, self._folder = False, Path()
        self._stage, self._epoch, self._before = "", 0, 0
        self._failed: str | None = None

    def started(self, name: str, settings: Mapping[str, Any], key: str, folder: Path) -> None:
        """Opens the run of the tracker, that of an earlier try where there is one."""
        self._recording, self._folder, self._failed = True, folder, None
        self._try(lambda: self._open(name, dict(_flat(settings)), key))

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Keeps the name, under which the epochs of the stage are recorded."""
        self._stage, self._epoch, self._before = name, 0, 0

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Records the logs of an epoch; those of a second training in a stage come after those of the first."""
        if epoch <= self._epoch:
            self._before += self._epoch
        self._epoch = epoch
        self._try(lambda: self._log(self._stage, self._before + epoch, logs))

    def done(self, artifact: Artifact) -> None:
        """Records what was measured of a result."""
        self._try(lambda: self._measure(_figures(artifact)))

    def finished(self, artifacts: Mapping[str, Artifact]) -> None:
        """Records all results, also those that were reused, with files, reports and versions."""
        self._failed = " ".join(artifact.failed for artifact in artifacts.values() if artifact.failed)
        self._try(lambda: self._finish(artifacts, self._failed or ""))

    def close(self) -> None:
        """Ends the run of the tracker: finished, failed, or killed where it was interrupted."""
        killed = isinstance(sys.exception(), KeyboardInterrupt)
        self._try(lambda: self._end(FINISHED if self._failed == "" else KILLED if killed else FAILED))
        self._recording = False

    def _finish(self, artifacts: Mapping[str, Artifact], failed: str) -> None:
        for artifact in artifacts.values():
            self._measure(_figures(artifact))
        self._keep(list(_files(self._folder, artifacts)))
        made = [artifact for artifact in artifacts.values() if artifact.kind != SOURCE]
        self._conclude({name: text for artifact in made[-1:] for name, text in artifact.environment.items()}, failed)

    def _try(self, work: Callable[[], None]) -> None:
        """Does something with the tracker; where that fails, it is the last thing that is tried."""
        if not self._recording:
            return
        try:
            with captured():
                work()
        except self._failures() as error:
            self._recording = False
            self._notify(f"{self.tracker} records no more of this run: {first_line(error)}")

    @abstractmethod
    def _failures(self) -> tuple[type[Exception], ...]:
        """What the tracker raises where it fails."""

    @abstractmethod
    def _open(self, name: str, settings: Mapping[str, Any], key: str) -> None:
        """Begins a run, or goes on with that of the key; settings have names with dots."""

    @abstractmethod
    def _log(self, stage: str, epoch: int, logs: Mapping[str, float]) -> None:
        """Records the logs of an epoch of a stage."""

    @abstractmethod
    def _measure(self, figures: Mapping[str, float]) -> None:
        """Records what was measured, as `int8/accuracy`."""

    @abstractmethod
    def _keep(self, files: list[tuple[Path, str]]) -> None:
        """Records files, each with the folder that it belongs into: its stage, or none for reports."""

    @abstractmethod
    def _conclude(self, environment: Mapping[str, str], failed: str) -> None:
        """Records versions, the machine, and the accuracy check that failed, if any."""

    @abstractmethod
    def _end(self, code: int) -> None:
        """Ends the run: `FINISHED`, `FAILED` or `KILLED`."""


def first_line(error: Exception) -> str:
    """The first line of an error, to stand in a sentence."""
    return str(error).strip().partition("\n")[0].rstrip(".")


def _figures(artifact: Artifact) -> dict[str, float]:
    """What was measured, by the name of the stage that made what was measured."""
    by_name = artifact.files or {artifact.name: artifact.metrics}
    return {f"{name}/{figure}": value for name, own in by_name.items() for figure, value in own.items()}


def _files(folder: Path, artifacts: Mapping[str, Artifact]) -> Iterator[tuple[Path, str]]:
    """The `.tflite` files by their stages, those for targets, and the reports."""
    for artifact in artifacts.values():
        if artifact.format == "tflite" and not artifact.files:
            for file in (artifact.path, *artifact.device_files.values()):
                yield file, artifact.name
    for report in (folder / name for name in REPORTS):
        if report.is_file():
            yield report, ""


def _flat(settings: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as one level of names with dots; without those that are not set."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{name}.")
        elif value not in (None, [], ()):
            yield f"{place}{name}", value

"""The interface for progress of a run, which the command line implements by bars and lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfopt.recipe.artifact import Artifact


class Progress:
    """Receives the progress of a run. This base class ignores it; subclasses draw and print."""

    def checking(self) -> None:
        """The checks before the run begin: the model is built and the data loaded. It may be called twice."""

    def checked(self, what: str) -> None:
        """The data, the model or a stage, by its name, has passed its checks."""

    def started(self, name: str, settings: Mapping[str, Any], key: str, folder: Path) -> None:
        """The run of the recipe `name` goes on to its stages in that folder.

        Args:
            name: The recipe's name.
            settings: Its model, data and seed, and the settings of each stage by the stage's name.
            key: Content key of all its results: the same key means the same results.
            folder: The run's folder.
        """

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Stage `index` of `count` (from 1) begins."""

    def reused(self, name: str, kind: str, index: int, count: int) -> None:
        """The committed result of a stage is used as it is."""

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """`epoch` of `epochs` epochs are finished, with Keras's logs."""

    def batch(self, epoch: int, epochs: int, done: float) -> None:
        """The fraction `done`, 0-1, of epoch `epoch` (from 0) is finished."""

    def step(self, text: str) -> None:
        """A step inside a stage is finished, with its result as text."""

    def note(self, text: str) -> None:
        """Something to know of the run, not of its result: what an interrupted run left, used or not."""

    def part(self, done: float) -> None:
        """The fraction `done`, 0-1, of the stage's current work is finished."""

    def done(self, artifact: Artifact) -> None:
        """A stage is committed."""

    def measuring(self, name: str) -> None:
        """The model that the run is compared with, that of the stage `name`, is measured; `done` has the result."""

    def finished(self, artifacts: Mapping[str, Artifact]) -> None:
        """All results are there, by the names of their stages, and the reports are written."""

    def close(self) -> None:
        """The run has ended, successfully or not."""


class Together(Progress):
    """Passes the progress of a run on to several, in their order."""

    def __init__(self, *others: Progress):
        self._others = others
        for name in (name for name, value in vars(Progress).items() if callable(value) and not name.startswith("_")):
            setattr(self, name, self._to_all(name))

    def _to_all(self, name: str) -> Callable[..., None]:
        def tell(*arguments: Any, **named: Any) -> None:
            for other in self._others:
                getattr(other, name)(*arguments, **named)

        return tell

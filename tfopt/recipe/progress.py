"""What a run tells while it goes on: the interface that the command line's bars and lines fill."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact


class Progress:
    """What a run tells while it goes on; this one says nothing. The command line's ones draw and print."""

    def checking(self) -> None:
        """The model is built and the data loaded, to see whether all stages can work."""

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Stage `index` of `count` (from 1) begins."""

    def reused(self, name: str, kind: str, index: int, count: int) -> None:
        """The committed result of a stage is used as it is."""

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """`epoch` epochs of `epochs` are done; logs as Keras gives them."""

    def batch(self, epoch: int, epochs: int, done: float) -> None:
        """The fraction `done` of the running epoch (from 0) is through."""

    def step(self, text: str) -> None:
        """A step inside a stage is done, with what it came to."""

    def part(self, done: float) -> None:
        """The fraction `done` (from 0) of what the stage does now is through."""

    def done(self, artifact: Artifact) -> None:
        """A stage is committed."""

    def close(self) -> None:
        """The run is over, well or not."""

"""Details of stages that search: among compressed files, or among hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfopt.recipe.details.detail import Detail

Bytes = int | float  # a file's are whole, forecasts are not


@dataclass(frozen=True)
class SearchWish:
    """What a search is for, and its limits; None where there is none.

    Args:
        goal: `accurate`, `smallest` or `fastest`.
        size: Which size counts, `raw` or `gzip`.
        raw_bytes: The most bytes that the file may have.
        gzip_bytes: The same after gzip -9.
        milliseconds: The most that a run may take.
        max_drop: How much worse than the model's the metric may be.
    """

    goal: str
    size: str
    raw_bytes: Bytes | None = None
    gzip_bytes: Bytes | None = None
    milliseconds: float | None = None
    max_drop: float | None = None

    @property
    def size_name(self) -> str:
        """The name of the size that counts, `raw_bytes` or `gzip_bytes`."""
        return f"{self.size}_bytes"


@dataclass(frozen=True)
class FrontFile:
    """A file of the front: none of the others is better in the metric, bytes and time.

    Args:
        number: The candidate's number.
        file: Relative to the stage's folder.
        epochs: How many it was trained for.
        score: The metric on the validation split, on LiteRT.
        drop: How much worse than the model's own.
        raw_bytes: Its size.
        gzip_bytes: The same after gzip -9.
        milliseconds: The median of a run on LiteRT.
        test: Each metric on the test split.
        stages: The stages that make it, as a recipe writes them.
        meets: Whether it is within all limits.
    """

    number: int
    file: str
    epochs: int
    score: float
    drop: float
    raw_bytes: Bytes
    gzip_bytes: Bytes
    milliseconds: float
    test: dict[str, float]
    stages: list[dict[str, Any]]
    meets: bool


@dataclass(frozen=True)
class TriedCandidate:
    """A candidate that was trained and measured; the figures are those of `FrontFile`."""

    number: int
    epochs: int
    score: float
    raw_bytes: Bytes
    gzip_bytes: Bytes
    milliseconds: float


@dataclass(frozen=True)
class FailedCandidate:
    """A candidate that came to no file, and its error."""

    number: int
    error: str | None


@dataclass(frozen=True)
class SearchOutcome(Detail):
    """What a search for compressed files came to.

    Args:
        metric: The metric's name.
        before: The metric of the model that it starts from, on the validation split.
        wish: What it is for.
        limits: The limits that there are, by name.
        chosen: The number of the file that goes on.
        front: The files that no other beats, the smallest first.
        tried: Every candidate that was measured.
        failed: Those that came to no file.
        lost: How many were lost with their process.
        dropped: How many were over budget and not trained.
    """

    name: ClassVar[str] = "search"

    metric: str
    before: float
    wish: SearchWish
    limits: dict[str, int | float]
    chosen: int
    front: tuple[FrontFile, ...]
    tried: tuple[TriedCandidate, ...]
    failed: tuple[FailedCandidate, ...]
    lost: int
    dropped: int


@dataclass(frozen=True)
class TuningTrial:
    """A trial of a search for hyperparameters.

    Args:
        number: The trial's name.
        values: The value of each hyperparameter.
        score: The metric on the validation split; None where there is none.
        status: `COMPLETED`, `FAILED` and so on, as keras-tuner has it.
        message: Why it failed.
        epochs: Hyperband's epochs; None with any other tuner.
    """

    number: str
    values: Mapping[str, Any]
    score: float | None
    status: str
    message: str | None
    epochs: int | None


@dataclass(frozen=True)
class TuningOutcome(Detail):
    """What a search for hyperparameters came to.

    Args:
        metric: The metric's name.
        best: The name of the trial whose model goes on.
        trials: Every trial, by number.
        stages: The stages with the best values, as a recipe writes them.
    """

    name: ClassVar[str] = "tune"

    metric: str
    best: str
    trials: tuple[TuningTrial, ...]
    stages: list[dict[str, Any]]

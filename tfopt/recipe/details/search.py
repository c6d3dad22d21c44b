"""Details of stages that search: among compressed files, or among hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tfopt.recipe.details.detail import Detail

Bytes = int | float  # whole for a file, fractional for an estimate


@dataclass(frozen=True)
class SearchObjective:
    """The goal and the limits of a search; None for no limit.

    Args:
        goal: `accurate`, `smallest` or `fastest`.
        size: Which size counts, `raw` or `gzip`, or that of the target, such as `compiled` for `compiled_bytes`.
        raw_bytes: Largest size of the file in bytes.
        gzip_bytes: Largest size after gzip -9 in bytes.
        milliseconds: Largest latency in milliseconds.
        max_drop: How much worse than the model's the metric may be.
        time: Which time counts: `milliseconds`, or a figure of the target, such as `npu_milliseconds`.
        device: Largest figures of the target by name.
        target: The runtime that the files are made for.
    """

    goal: str
    size: str
    raw_bytes: Bytes | None = None
    gzip_bytes: Bytes | None = None
    milliseconds: float | None = None
    max_drop: float | None = None
    time: str = "milliseconds"
    device: dict[str, Bytes] = field(default_factory=dict)
    target: str = "litert"

    @property
    def size_name(self) -> str:
        """The name of the size that counts, such as `gzip_bytes`."""
        return f"{self.size}_bytes"

    @property
    def device_size(self) -> bool:
        """Whether the size that counts is one of the target's."""
        return self.size not in ("raw", "gzip")


@dataclass(frozen=True, kw_only=True)
class _Costs:
    """What reads figures by name: those of any file are fields, those of its target are in `device`."""

    device: dict[str, Bytes] = field(default_factory=dict)

    def figure(self, name: str) -> float:
        """A figure by its name, such as `gzip_bytes`, or one of the target's."""
        return self.device[name] if name in self.device else getattr(self, name)


@dataclass(frozen=True)
class FrontFile(_Costs):
    """A file of the Pareto front: no other is better in metric, size and latency.

    Args:
        number: Number of the candidate.
        file: Path of the file, relative to the stage's folder.
        epochs: Epochs of training.
        score: The metric on the validation split, on LiteRT.
        drop: How much worse the metric is than the original model's.
        raw_bytes: Size of the file in bytes.
        gzip_bytes: Size after gzip -9 in bytes.
        milliseconds: Median latency on LiteRT in milliseconds.
        test: Metrics on the test split by name.
        stages: The stages that make it, as a recipe writes them.
        meets: Whether the file is within all limits.
        device: What its target measured, by name.
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
class TriedCandidate(_Costs):
    """A candidate that was trained and measured; the figures are those of `FrontFile`, and the time's spread in ms."""

    number: int
    epochs: int
    score: float
    raw_bytes: Bytes
    gzip_bytes: Bytes
    milliseconds: float
    spread: float = 0.0


@dataclass(frozen=True)
class FailedCandidate:
    """A candidate without a file, and its error."""

    number: int
    error: str | None


@dataclass(frozen=True)
class SearchOutcome(Detail):
    """The outcome of a search for compressed files.

    Args:
        metric: The metric's name.
        before: The metric of the original model on the validation split.
        wish: Goal and limits of the search.
        limits: The limits that are set, by name.
        chosen: Number of the chosen file.
        front: Files of the Pareto front, the smallest first.
        tried: Every candidate that was measured.
        failed: Candidates without a file.
        lost: Number of candidates lost with their process.
        dropped: Number of candidates over budget, which were not trained.
    """

    name: ClassVar[str] = "search"

    metric: str
    before: float
    wish: SearchObjective
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
        number: Name of the trial.
        values: The value of each hyperparameter.
        score: The metric on the validation split; None for a trial without a score.
        status: `COMPLETED`, `FAILED` and so on, as keras-tuner has it.
        message: Why the trial failed; None if it did not.
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
    """The outcome of a search for hyperparameters.

    Args:
        metric: The metric's name.
        best: Name of the best trial, whose model is the result.
        trials: Every trial, by number.
        stages: The stages with the best values, as a recipe writes them.
    """

    name: ClassVar[str] = "tune"

    metric: str
    best: str
    trials: tuple[TuningTrial, ...]
    stages: list[dict[str, Any]]

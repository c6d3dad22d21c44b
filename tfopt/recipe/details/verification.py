"""Details of comparisons and scores: a model converted from Keras 2, and the scores of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class CarriedOver(Detail):
    """How closely a model converted from Keras 2 agrees with the original.

    Args:
        origin: What the original was, in words.
        max_error: Largest absolute difference of an output from the original's, on random inputs.
        scale: Largest absolute value of the original output.
    """

    name: ClassVar[str] = "carried"

    origin: Annotated[str, Field(alias="from")]
    max_error: float
    scale: float

    def to_json(self) -> dict[str, Any]:
        """The JSON; `origin` is under `from`, a reserved word in Python."""
        return {"from": self.origin, "max_error": self.max_error, "scale": self.scale}


@dataclass(frozen=True)
class GatedFile:
    """What a gate compared of one file.

    Args:
        baseline: Name of the stage whose model the file was compared with.
        before: The metric of that model.
        after: The metric of the file on LiteRT.
        drop: How much worse the file is; negative if it is better.
    """

    baseline: str
    before: float
    after: float
    drop: float


@dataclass(frozen=True)
class AccuracyGate(Detail):
    """An accuracy gate, and what it found.

    Args:
        metric: Name of the metric.
        max_drop: How much worse a file may be; None where the stage only measures.
        files: What was compared, by the name of the stage that made the file.
    """

    name: ClassVar[str] = "gate"

    metric: str
    max_drop: float | None
    files: dict[str, GatedFile]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the files that are too much worse."""
        limit = self.max_drop
        return () if limit is None else tuple(name for name, file in self.files.items() if file.drop > limit)


@dataclass(frozen=True)
class ClassFigures:
    """The scores of each class of one output on the test split; lists have one value per class.

    Args:
        classes: Class ids.
        precision: Precisions, 0-1.
        recall: Recalls, 0-1.
        f1: F1 scores, 0-1.
        support: Number of samples.
        confusion: Confusion matrix: counts by true and predicted class; empty where samples have any number of classes.
    """

    classes: list[Any]
    precision: list[float]
    recall: list[float]
    f1: list[float]
    support: list[int]
    confusion: list[list[int]]


@dataclass(frozen=True)
class ClassScores(Detail):
    """The scores of each class, file by file.

    Args:
        files: Scores by the name of the stage that made the file, then by output.
    """

    name: ClassVar[str] = "by_class"
    bare: ClassVar[bool] = True

    files: dict[str, dict[str, ClassFigures]]

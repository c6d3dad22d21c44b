"""Details of comparisons and scores: a model converted from Keras 2, scores of each class, and what changed class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tfopt.data.preview import Preview
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
        models: Every score of the Keras models that the files were made from, by the name of the stage that made them.
    """

    name: ClassVar[str] = "gate"

    metric: str
    max_drop: float | None
    files: dict[str, GatedFile]
    models: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the files that are too much worse."""
        limit = self.max_drop
        return () if limit is None else tuple(name for name, file in self.files.items() if not file.drop <= limit)


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


@dataclass(frozen=True)
class ChangedSample:
    """A sample of the test split to which two models give different classes.

    Args:
        row: Its place in the test split, from 0.
        label: Its true classes: one, or any number where samples have any number of classes.
        before: The classes that the model compared with gives.
        after: The classes that the file gives.
        sure_before: Probability, 0-1, that the model compared with gives its class; None for any number of classes.
        sure_after: Probability, 0-1, that the file gives its class.
    """

    row: int
    label: list[int]
    before: list[int]
    after: list[int]
    sure_before: float | None = None
    sure_after: float | None = None


@dataclass(frozen=True)
class ClassMove:
    """How many values went from one class to another."""

    before: int
    after: int
    count: int


@dataclass(frozen=True)
class OutputChanges:
    """The classes that a file and another model give the test split, for one output.

    Args:
        against: Name of the stage that made the other model.
        values: Number of values that were classified: one a sample, unless the output has more axes.
        same: Those with the same class.
        broken: Those that were right before and are wrong in the file.
        mended: Those that were wrong before and are right in the file.
        classes: Class ids of both confusion matrices.
        confusion_before: Counts by true and given class of the other model; empty for very many classes, and where
            samples have any number of classes.
        confusion_after: Counts by true and given class of the file.
        moves: Changes from class to class, the most frequent first, 50 at most.
        samples: Samples that changed, 24 at most: those that broke first.
    """

    against: str
    values: int
    same: int
    broken: int
    mended: int
    classes: list[int]
    confusion_before: list[list[int]]
    confusion_after: list[list[int]]
    moves: tuple[ClassMove, ...]
    samples: tuple[ChangedSample, ...]

    @property
    def share(self) -> float:
        """The fraction of values with the same class, 0-1."""
        return self.same / self.values if self.values else 1.0


@dataclass(frozen=True)
class ShownSample:
    """The inputs of a sample of the test split, to be looked at.

    Args:
        row: Its place in the test split, from 0.
        inputs: Pictures, text or numbers by input name or caption; the name of an only one may be empty.
    """

    row: int
    inputs: dict[str, Preview]


@dataclass(frozen=True)
class ClassChanges(Detail):
    """What changed class between the model that a file is held against and the file.

    Args:
        files: Changes by the name of the stage that made the file, then by output.
        shown: The inputs of every listed sample, by row.
        same: Fraction of samples, 0-1, whose class is the same in every output, by the name of the stage that made the
            file; of files whose only output has more axes, of its values.
    """

    name: ClassVar[str] = "class_changes"

    files: dict[str, dict[str, OutputChanges]]
    shown: tuple[ShownSample, ...] = ()
    same: dict[str, float] = field(default_factory=dict)

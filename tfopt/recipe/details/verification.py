"""Details of what was compared or scored: a model carried over from Keras 2, and classes one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class CarriedOver(Detail):
    """How close a model that came over from Keras 2 is to what it was.

    Args:
        origin: What it was before, in words.
        max_error: The largest absolute difference between an output before and after, on random inputs.
        scale: The largest absolute value of that output before.
    """

    name: ClassVar[str] = "carried"

    origin: Annotated[str, Field(alias="from")]
    max_error: float
    scale: float

    def to_json(self) -> dict[str, Any]:
        """As any detail's; the origin is under `from`, which no field of Python's can be named."""
        return {"from": self.origin, "max_error": self.max_error, "scale": self.scale}


@dataclass(frozen=True)
class ClassFigures:
    """How well each class of one output is found, on the test split; lists have a value for each class.

    Args:
        classes: Ids.
        precision: 0-1.
        recall: 0-1.
        f1: 0-1.
        support: Samples of the class.
        confusion: Counts by true and predicted class.
    """

    classes: list[Any]
    precision: list[float]
    recall: list[float]
    f1: list[float]
    support: list[int]
    confusion: list[list[int]]


@dataclass(frozen=True)
class ClassScores(Detail):
    """How well each class is found by each file.

    Args:
        files: By the name of the stage that made the file, then by the output.
    """

    name: ClassVar[str] = "by_class"
    bare: ClassVar[bool] = True

    files: dict[str, dict[str, ClassFigures]]

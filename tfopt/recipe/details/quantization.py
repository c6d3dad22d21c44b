"""Details of stages that make a `.tflite`: how it was made, and what became of each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class ConversionNotes(Detail):
    """What a user should know of how a file was made, such as a route that the converter had to take.

    Args:
        notes: Sentences without a full stop.
    """

    name: ClassVar[str] = "notes"
    bare: ClassVar[bool] = True

    notes: tuple[str, ...]


@dataclass(frozen=True)
class AuditRow:
    """An op with constants.

    Args:
        layer: The layers it computes; the name of its output where that is not known.
        op: The op.
        dtype: Type of its kernel in the file.
        bytes: Of its weights and biases in the file; a constant that several ops share counts at the first.
        float_bytes: The same in the float file.
        zeros: Share of exact zeros in its kernel in the file, 0-1.
        float_zeros: The same in the float file.
        values: How many different values its kernel has in the file, zero included; None where that is more than 8
            bits tell apart.
    """

    layer: str
    op: str
    dtype: str
    bytes: int
    float_bytes: int
    zeros: float
    float_zeros: float
    values: int | None = None


@dataclass(frozen=True)
class Audit(Detail):
    """A file, op by op, beside the float file that it was made from.

    Args:
        rows: Every op with a kernel.
        floating: Ops that compute in floating point.
        loops: Layers that are loops in it.
        flex: TensorFlow ops that LiteRT does not have itself.
        sparsity: Share of zeros in all kernels, 0-1.
        float_sparsity: The same in the float file.
    """

    name: ClassVar[str] = "audit"

    rows: tuple[AuditRow, ...]
    floating: tuple[str, ...]
    loops: tuple[str, ...]
    flex: tuple[str, ...]
    sparsity: float
    float_sparsity: float


@dataclass(frozen=True)
class AccuracyStep:
    """One file that was tried to keep the metric.

    Args:
        what: What is different from what was asked for.
        bytes: Size of the file, slimmed.
        score: The metric on LiteRT.
        drop: How much worse than the model's own; negative if it is better.
        met: Whether the accuracy contract allows it.
    """

    what: str
    bytes: int
    score: float
    drop: float
    met: bool


@dataclass(frozen=True)
class AccuracySteps(Detail):
    """Every file that was tried to keep the metric.

    Args:
        steps: In the order in which they were tried.
    """

    name: ClassVar[str] = "steps"
    bare: ClassVar[bool] = True

    steps: tuple[AccuracyStep, ...]

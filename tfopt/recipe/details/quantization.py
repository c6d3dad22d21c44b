"""Details of stages that make a `.tflite`: conversion notes, audit of ops, and steps of the accuracy search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class ConversionNotes(Detail):
    """Remarks on how a file was converted, such as a fallback of the converter.

    Args:
        notes: The remarks, sentences without a full stop.
    """

    name: ClassVar[str] = "notes"
    bare: ClassVar[bool] = True

    notes: tuple[str, ...]


@dataclass(frozen=True)
class ConversionWarnings(Detail):
    """What may make a result poor, such as noisy outputs, or calibration samples of another range than the model's.

    Args:
        warnings: The warnings, each a sentence or more.
    """

    name: ClassVar[str] = "warnings"
    bare: ClassVar[bool] = True

    warnings: tuple[str, ...]


@dataclass(frozen=True)
class NoiseRemedy(Detail):
    """Settings with which a noisy file would be less so.

    Args:
        layers: The layers and operations that lose most, the worst first.
        settings: All settings of the stage then, entries of YAML's such as `io: float32`.
        snr_db: The signal-to-noise ratio against the float file that they would give, in decibels.
    """

    name: ClassVar[str] = "noise_remedy"

    layers: tuple[str, ...]
    settings: tuple[str, ...]
    snr_db: float


@dataclass(frozen=True)
class AuditRow:
    """The audit of one op with constants.

    Args:
        layer: Paths of the layers that the op computes; the name of its output where they are not known.
        op: Name of the op.
        dtype: Type of the kernel in the file.
        bytes: Bytes of weights and biases in the file; a constant that several ops share counts at the first.
        float_bytes: Bytes of weights and biases in the float file.
        zeros: Fraction of exact zeros in the kernel in the file, 0-1.
        float_zeros: Fraction of exact zeros in the kernel in the float file, 0-1.
        values: Number of distinct values of the kernel in the file, zero included; None above 256.
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
    """The audit of a file: its ops compared with those of the float file.

    Args:
        rows: Every op with a kernel.
        floating: Ops that compute in floating point.
        loops: Layers that are loops in the file.
        flex: TensorFlow ops that LiteRT does not have itself.
        sparsity: Fraction of zeros in all kernels, 0-1.
        float_sparsity: Fraction of zeros in all kernels of the float file, 0-1.
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
    """One step of an accuracy search: a file that was tried.

    Args:
        what: How the file differs from the requested settings.
        bytes: Size of the slimmed file in bytes.
        score: The metric on the validation split, on LiteRT.
        drop: How much worse the metric is than the model's own; negative if better.
        met: Whether the drop is within `max_drop`.
        metric: Name of the metric.
        seconds: How long it took to make the file and to measure it.
    """

    what: str
    bytes: int
    score: float
    drop: float
    met: bool
    metric: str = ""
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class AccuracySteps(Detail):
    """The steps of an accuracy search.

    Args:
        steps: The steps in the order in which they were tried.
    """

    name: ClassVar[str] = "steps"
    bare: ClassVar[bool] = True

    steps: tuple[AccuracyStep, ...]

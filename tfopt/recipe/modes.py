"""Modes of quantization, and methods for the ranges of activations: the classes of their entries, and the registries.

Each entry is a file of its own in the package that its registry names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tfopt.registry import Registry

if TYPE_CHECKING:
    import numpy as np

Precision = Literal["int4", "int8", "int16", "float"]
Io = Literal["int8", "int16", "float32"]
Recurrent = Literal["auto", "fused", "unrolled", "loop"]


@dataclass(frozen=True)
class Mode:
    """A quantization mode: how weights are stored, and the type of the arithmetic.

    Args:
        name: The name in a recipe.
        about: What the mode costs and brings, in a few words.
        weights: Type of the stored kernels: `float32`, a smaller float, `int8`; or `int4`, which is int8 for the
            kernels that have no form of 4 bits.
        activation_bits: 8 or 16 where activations are integers whose ranges are known beforehand; None where they are
            stored in floating point.
        rules: Precisions that rules can give single layers in this mode.
        weight_only: Whether integer kernels are dequantized before they are computed with.
        sparse: Whether LiteRT loads such kernels in TFLite's sparse format.
        by_converter: Whether TFLiteConverter can make such files too, as a fallback for the quantizer.
        least_snr_db: Signal-to-noise ratio against the float file's outputs, in decibels, that a file has to exceed
            where neither a metric nor the user says otherwise.
        rank: Position in lists.
    """

    name: str
    about: str
    weights: str
    activation_bits: int | None = None
    rules: tuple[Precision, ...] = ()
    weight_only: bool = False
    sparse: bool = False
    by_converter: bool = False
    least_snr_db: float = 10.0
    rank: int = 100

    @property
    def static(self) -> bool:
        """Whether activations are integers with ranges known beforehand, which takes calibration samples."""
        return self.activation_bits is not None

    @property
    def io(self) -> str | None:
        """Type of the file's integer inputs and outputs; None where they are the model's own."""
        return f"int{self.activation_bits}" if self.static else None

    @property
    def quantizes(self) -> bool:
        """Whether the mode changes the float file."""
        return self.weights != "float32"

    @property
    def fuses(self) -> bool:
        """Whether LiteRT has the op of a whole recurrent layer in this mode: it takes no data of 16 bits."""
        return self.activation_bits != 16

    @property
    def precision(self) -> str:
        """The precision of ops without a rule; int16 stands for activations of 16 bits."""
        return "int16" if self.activation_bits == 16 else "int8"


MODES: Registry[Mode] = Registry("tfopt.quantization.modes", Mode)


@dataclass(frozen=True)
class RangeMethod:
    """A range method: makes the range of an activation from its calibrated extremes.

    Args:
        name: The name in a recipe.
        about: What the range covers, in a few words.
        ends: Maps the smallest and the largest values in each run, `(runs, tensors)` each, to the lower and upper ends
            of the ranges, `(tensors,)` each.
        fewest: Least number of calibration samples.
        rank: Position in lists.
    """

    name: str
    about: str
    ends: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    fewest: int = 1
    rank: int = 100


RANGES: Registry[RangeMethod] = Registry("tfopt.quantization.ranges", RangeMethod)


@dataclass(frozen=True)
class TrainedRanges:
    """A method for activation ranges to follow quantization-aware training.

    Args:
        name: The name in a recipe.
        about: How the ranges follow, in a few words.
        begin: Name of the `RangeMethod` of the first ranges.
        observer: Makes the `quantization.aware.observers.RangeObserver` of a model, from the grids of its activations,
            the grids of its kernels with their variables, the momentum of averages and the rate of learning.
        rank: Position in lists.
    """

    name: str
    about: str
    begin: str
    observer: Callable[[Sequence[Any], Sequence[tuple[Any, Any]], float, float], Any]
    rank: int = 100


TRAINED_RANGES: Registry[TrainedRanges] = Registry("tfopt.quantization.aware.ranges", TrainedRanges)


@dataclass(frozen=True)
class Rounding:
    """A rounding: chooses the integers of a kernel.

    Args:
        name: The name in a recipe.
        about: How the integers are chosen, in a few words.
        choose: Maps a `quantization.rounding.problem.KernelProblem` to its integers `(groups, channels, columns)`; None
            for the quantizer's own.
        rows: Whether it learns on single rows of inputs, and not on their moments alone.
        work: Estimates how much computing `choose` is for a kernel of so many groups, channels and columns, in
            multiply-adds (`quantization.rounding.work`). What it leaves open counts as nothing in a budget of time.
        least_share: The least share of its steps, 0-1, with which a rounding that learns in steps is still worth a try
            where time is short; 1 for one that has to come to its end.
        tries: The roundings that it tries, for one that is the best of others.
        rank: Position in lists.
    """

    name: str
    about: str
    choose: Callable[[Any], np.ndarray] | None = None
    rows: bool = False
    work: Callable[[int, int, int], float] | None = None
    least_share: float = 1.0
    tries: tuple[str, ...] = ()
    rank: int = 100


ROUNDINGS: Registry[Rounding] = Registry("tfopt.quantization.rounding.methods", Rounding)


def closed_form() -> str:
    """Name of the best rounding that takes moments of the samples alone, and so seconds: the last that `auto` tries."""
    return [name for name in ROUNDINGS["auto"].tries if not ROUNDINGS[name].rows][-1]

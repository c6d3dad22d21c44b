"""Detail on how a finished file is fed and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tfopt.recipe.details.detail import Detail

# How an output decides on a class: by the largest of several scores, or by each score above a threshold.
Rule = Literal["largest", "each"]

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


@dataclass(frozen=True)
class ClassRule:
    """How an output decides on classes.

    Args:
        rule: `largest`: the class of the largest score. `each`: every class whose score is above the threshold.
        count: Number of scores.
        threshold: Threshold in the float model's units, for `each`.
    """

    rule: Rule
    count: int
    threshold: float = 0.5


@dataclass(frozen=True)
class TensorUsage:
    """One input or output of a file.

    Args:
        name: Name in the file's signature.
        place: Position among the inputs or outputs of the file's graph, by which TFLM counts.
        dtype: Type of its numbers in NumPy's words, such as `int8`.
        shape: Shape with the batch; -1 for a dimension of any size.
        scale: Scale of a quantized tensor: `x = scale * (q - zero_point)`; 0 where it is not quantized.
        zero_point: Zero point of a quantized tensor.
        preparation: What the model does to an input before anything else, each a few words, in order.
        decides: How an output decides on classes; None where it does not, or where it is not known.
    """

    name: str
    place: int
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0
    preparation: tuple[str, ...] = ()
    decides: ClassRule | None = None

    @property
    def quantized(self) -> bool:
        """Whether its numbers are steps of a grid."""
        return self.scale > 0 and self.dtype in _LIMITS

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest integer of its type, for a quantized tensor."""
        return _LIMITS[self.dtype]

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest number that a quantized tensor can hold, in the float model's units."""
        low, high = self.limits
        return self.scale * (low - self.zero_point), self.scale * (high - self.zero_point)

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape with 1 for every dimension of any size, as the file has it when it is loaded."""
        return tuple(1 if size < 0 else size for size in self.shape)


@dataclass(frozen=True)
class Usage(Detail):
    """How a file is fed and read.

    Args:
        inputs: Inputs in the order of the signature.
        outputs: Outputs in the order of the signature.
        signature: Key of the signature; None for a file without one.
        stateful: Whether the file keeps state from run to run, which has to be reset between independent samples.
        streams: Whether that state carries one sequence on from run to run on purpose: it is reset where a sequence
            begins, and not before each run.
        ops: Names of the ops, each once, in order.
        not_on_tflm: Why LiteRT for Microcontrollers does not run the file; empty where nothing is known against it.
        arena_bytes: Measured tensor arena on LiteRT for Microcontrollers; None where it was not measured.
    """

    name: ClassVar[str] = "usage"

    inputs: tuple[TensorUsage, ...]
    outputs: tuple[TensorUsage, ...]
    signature: str | None
    stateful: bool = False
    streams: bool = False
    ops: tuple[str, ...] = ()
    not_on_tflm: str = ""
    arena_bytes: int | None = None

    @property
    def resets(self) -> bool:
        """Whether the state is reset before every run."""
        return self.stateful and not self.streams

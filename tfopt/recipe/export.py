"""What can be asked of a conversion: the mode, the precision of single layers, the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from tfopt.recipe.settings import Patterns, Settings

Precision = Literal["int4", "int8", "int16", "float"]
Io = Literal["int8", "int16", "float32"]
ModeName = Literal["float32", "float16", "dynamic", "weight_only", "int8", "int16x8", "int4"]
TargetName = Literal["litert", "tflm", "int_only"]
TrainedRanges = Literal["moving_average", "percentile", "learned"]
# How many calibration samples a percentile takes at least.
FEWEST = 20


@dataclass(frozen=True)
class Mode:
    """A way to store the weights and to compute.

    Args:
        name: As written in a recipe.
        weights: Type of the stored kernels.
        io: Type of the file's inputs and outputs where they are integers; None where they are the model's own.
        rules: Precisions that single layers can be given in it.
        about: What it costs and brings, in a few words.
    """

    name: str
    weights: str
    io: str | None
    rules: tuple[str, ...]
    about: str

    @property
    def static(self) -> bool:
        """Whether activations are integers with ranges known beforehand, which takes calibration samples."""
        return self.io is not None


MODES = {
    mode.name: mode
    for mode in (
        Mode("float32", "float32", None, (), "as the model is"),
        Mode("float16", "float16", None, (), "half the bytes, computed in float32"),
        Mode("dynamic", "int8", None, ("int8", "int4", "float"), "int8 kernels, activations quantized while it runs"),
        Mode("weight_only", "int8", None, ("int8", "int4", "float"), "int8 kernels, computed in float32"),
        Mode("int8", "int8", "int8", ("int8", "int4", "int16", "float"), "all in integers"),
        Mode("int16x8", "int8", "int16", ("int8", "int4", "int16", "float"), "for accuracy only: its kernels are slow"),
        Mode("int4", "int4", "int8", ("int8", "int4", "int16", "float"), "int4 kernels where there are any, else int8"),
    )
}


@dataclass(frozen=True)
class Target:
    """A runtime that a file is made for.

    Args:
        name: As written in a recipe.
        modes: The modes that it runs, and runs right.
        integers: Whether every op has to compute in integers.
        about: What it is.
    """

    name: str
    modes: tuple[str, ...]
    integers: bool
    about: str


TARGETS = {
    target.name: target
    for target in (
        Target("litert", tuple(MODES), False, "LiteRT on phones, boards and servers"),
        Target("tflm", ("float32", "int8", "int16x8"), False, "LiteRT for Microcontrollers"),
        Target("int_only", ("int8", "int16x8", "int4"), True, "accelerators and chips that compute in integers alone"),
    )
}


def _batch(value: Any) -> Any:
    if value == "any" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"is a number of samples, at least 1, or any. Received: {value!r}")


Batch = Annotated[
    Any,
    BeforeValidator(_batch),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "any"}]}),
]


class Rule(Settings):
    """A precision for the layers that a pattern chooses."""

    layers: Patterns = Field(min_length=1)
    """Layer patterns: paths, names or classes."""
    to: Precision
    """int4: kernels of 4 bits. int8. int16: activations of 16 bits with int8 kernels, slow. float: not quantized."""


def _rules(value: Any) -> Any:
    entries = list(value) if isinstance(value, list | tuple) else None
    if entries is None or not all(isinstance(entry, Mapping | Rule) for entry in entries):
        raise ValueError(f"is a list such as [{{layers: head, to: float}}]. Received: {value!r}")
    return entries


Rules = Annotated[tuple[Rule, ...], BeforeValidator(_rules)]


class Export(Settings):
    """How a Keras model becomes a `.tflite`."""

    kind: ClassVar[str] = "convert"

    mode: ModeName = "int8"
    """float32, float16, dynamic, weight_only, int8, int16x8 or int4; the README has the table."""
    io: Io | None = None
    """Type of the file's inputs and outputs. For modes that compute in integers: theirs, if not given, or float32."""
    rules: Rules = ()
    """Precisions of single layers, such as {layers: head, to: float}; a later rule wins."""
    ranges: Literal["minmax", "percentile"] = "minmax"
    """How calibration turns activations into ranges: all that was seen, or without the samples that stand out."""
    scales: Literal["auto", "channel", "tensor"] = "auto"
    """Scales of quantized kernels. channel: one for each output channel, more exact. tensor: one for all, which keeps
    the number of distinct values and compresses better. auto: tensor for clustered kernels, channel for others."""
    batch: Batch = 1
    """Samples that the file takes at once; any: an input that can be resized."""
    target: TargetName = "litert"
    """litert, tflm (microcontrollers) or int_only; what it cannot run is refused."""
    unroll: bool = True
    """For recurrent layers in integers: a step of its own for each time step; false keeps the loop, in float."""
    slim: bool = True
    """Leave out tensor names and the converter's notes, which no runtime reads; false keeps them for debuggers."""
    sparse: bool = False
    """For float32: store pruned kernels in TFLite's sparse format. A smaller raw file, at the same speed."""

    @model_validator(mode="after")
    def _fits_together(self) -> Export:
        mode, target = MODES[self.mode], TARGETS[self.target]
        if self.mode not in target.modes:
            raise ValueError(
                f"target {self.target} ({target.about}) does not run mode {self.mode}. "
                f"Take one of {', '.join(target.modes)}"
            )
        if self.io is not None and not mode.static:
            raise ValueError(
                f"io is for modes that compute in integers: {self.mode} has the model's own inputs and outputs. "
                "Leave it out"
            )
        if self.io not in (None, "float32", mode.io):
            raise ValueError(f"the inputs and outputs of {self.mode} are {mode.io} or float32. Received: {self.io}")
        if self.io == "float32" and target.integers:
            raise ValueError(f"target {self.target} has integer inputs and outputs alone. Leave io out")
        if "ranges" in self.model_fields_set and not mode.static:
            raise ValueError(f"ranges is for modes that compute in integers, not for {self.mode}. Leave it out")
        if self.scales != "auto" and not mode.rules:
            raise ValueError(f"scales is for modes with integer kernels, not for {self.mode}. Leave it out")
        if self.target == "tflm" and self.batch == "any":
            raise ValueError("target tflm takes no inputs that are resized. Give batch a number")
        if self.sparse and self.mode != "float32":
            raise ValueError(
                f"sparse is for mode float32: LiteRT does not load sparse {self.mode} kernels. Leave it out, and look "
                "at the gzip size, which has the zeros' worth"
            )
        if self.sparse and self.target != "litert":
            raise ValueError(f"target {self.target} does not load sparse kernels. Leave sparse out")
        self._check_rules(mode, target)
        return self

    def _check_rules(self, mode: Mode, target: Target) -> None:
        for rule in self.rules:
            if not mode.rules:
                raise ValueError(f"rules are for modes that quantize, not for {self.mode}. Leave them out")
            if rule.to not in mode.rules:
                raise ValueError(f"a layer of mode {self.mode} can be {', '.join(mode.rules)}. Received: {rule.to}")
            if rule.to == "float" and target.integers:
                raise ValueError(f"target {self.target} computes in integers alone: no rule can lead to float")

    def asked(self) -> dict[str, Any]:
        """The settings that the mode looks at."""
        static = {"io", "ranges", "unroll"} if not MODES[self.mode].static else set()
        static |= {"scales"} if not MODES[self.mode].rules else set()
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in static}

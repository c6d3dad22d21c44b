"""Settings of a conversion: the mode, the ranges, the precision of single layers, the target."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from tfopt.recipe.decode import DecodeSetting
from tfopt.recipe.modes import MODES, RANGES, ROUNDINGS, Io, Mode, Precision, Recurrent, Rounding
from tfopt.recipe.settings import OneOf, Patterns, Settings
from tfopt.recipe.target import TARGETS
from tfopt.recipe.target_choice import NO_OPTIONS, Options, TargetName, options_with_name

# What the best of several roundings may take, of one processor core.
DEFAULT_SECONDS = 30.0


def _batch(value: Any) -> Any:
    if value == "any" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"is a number of samples, at least 1, or any. Received: {value!r}")


Batch = Annotated[
    Any,
    BeforeValidator(_batch),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "any"}]}),
]


class _SingleRoundings(Mapping[str, Rounding]):
    """The roundings that one layer can have by itself: those that are not the best of others."""

    def _own(self) -> dict[str, Rounding]:
        return {name: rounding for name, rounding in ROUNDINGS.items() if not rounding.tries}

    def __getitem__(self, name: str) -> Rounding:
        return self._own()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())


_SINGLE_ROUNDINGS = _SingleRoundings()


class Rule(Settings):
    """A precision, or a rounding, for the layers that a pattern chooses."""

    layers: Patterns = Field(min_length=1)
    """Layer patterns: paths, names or classes, of operations between layers too."""
    to: Precision | None = None
    """int4: kernels of 4 bits. int8. int16: activations of 16 bits with int8 kernels, slow. float: not quantized. That
    of the mode, if not given."""
    rounding: Annotated[str, OneOf(_SINGLE_ROUNDINGS)] | None = None
    """How the integers of their kernels are chosen, if not as the setting rounding says."""

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if self.to is None and self.rounding is None:
            raise ValueError("a rule says to what precision (to), how kernels are rounded (rounding), or both")
        return self


def _rules(value: Any) -> Any:
    entries = list(value) if isinstance(value, list | tuple) else None
    if entries is None or not all(isinstance(entry, Mapping | Rule) for entry in entries):
        raise ValueError(f"is a list such as [{{layers: head, to: float}}]. Received: {value!r}")
    return entries


Rules = Annotated[tuple[Rule, ...], BeforeValidator(_rules)]


class Export(Settings):
    """How a Keras model becomes a `.tflite`."""

    kind: ClassVar[str] = "convert"

    mode: Annotated[str, OneOf(MODES)] = "int8"
    """How weights are stored, and what is computed in integers."""
    io: Io | None = None
    """Type of the file's inputs and outputs. For modes that compute in integers: theirs, if not given, or float32."""
    rules: Rules = ()
    """Precisions of single layers, such as {layers: head, to: float}; a later rule wins."""
    ranges: Annotated[str, OneOf(RANGES)] = "minmax"
    """How calibration turns activations into ranges: all that was seen, or without the samples that stand out."""
    scales: Literal["auto", "channel", "tensor", "fewest"] = "auto"
    """Scales of quantized kernels. channel: one for each output channel, more exact. tensor: one for all, which keeps
    the number of distinct values and compresses better. auto: tensor for clustered kernels, channel for others; for
    pruned ones too where the target stores kernels compressed (ethos-u, decode): whichever is smaller there, if as
    exact. fewest, of modes that compute in integers: tensor for as many kernels as leave each output as exact within a
    decibel, for a smaller file of a small model; it takes two conversions for each kernel that would save a thousandth
    of the file. With qat the trained file has those of auto."""
    rounding: Annotated[str, OneOf(ROUNDINGS)] = "nearest"
    """How the integers of kernels are chosen, of modes that compute in integers. nearest: each by itself. gptq,
    descent: together, from the moments of the calibration samples, in seconds. adaround: up or down, learned on them.
    auto: what gives the least noise on samples that were held out. Zeros stay zeros; clustered kernels, loops and LSTMs
    stay as they are, and a note says so."""
    rounding_seconds: Annotated[float, Field(gt=0)] = DEFAULT_SECONDS
    """What rounding: auto may take, in seconds of one processor core. They are estimated from multiply-adds and not
    measured, so that the file is the same on every machine; what does not fit is left out, or learns in fewer steps,
    and a note says so."""
    bias_correction: bool | None = None
    """Let biases take up the mean error of the outputs of their layers; where rounding is not nearest, if not given."""
    clipping: Literal["none", "mse"] = "none"
    """Scales of kernels with one for each channel. none: the largest weight is the last integer. mse: the scale of the
    least squared error, which clips it."""
    batch: Batch = 1
    """Samples that the file takes at once; any: an input that can be resized."""
    target: TargetName = "litert"
    """The runtime: LiteRT, LiteRT for Microcontrollers (tflm), or chips that compute in integers alone (int_only); what
    it cannot run is refused. {name: {option: value}} chooses among a target's options."""
    target_options: Options = NO_OPTIONS
    """The options of the target, which may as well be written with its name."""
    recurrent: Recurrent = "auto"
    """How recurrent layers are computed. fused: an LSTM as one op. unrolled: ops for each time step, a large file.
    loop: in float, whatever the mode. auto: on LiteRT, where fused is slower, a loop in modes that compute in float,
    and in integers unrolled where that is accurate enough; fused elsewhere. What has no such form has another, and a
    note says why. A fused file keeps its state from run to run, and has to be reset before each sequence. With a mask
    it sorts the steps that count to the front, and their outputs back."""
    stateful: bool = False
    """Keep the state of LSTMs from call to call, for a stream: the file takes a sequence in pieces of the model's
    length, proven to give what the whole gives, and is reset by the code around it where a new sequence begins. The
    calibration samples count as one stream."""
    unroll: bool | None = None
    """Deprecated for recurrent: false is loop, true is unrolled in modes that compute in integers."""
    slim: bool = True
    """Leave out tensor names and the converter's notes, which no runtime reads; false keeps them for debuggers."""
    sparse: bool = False
    """For float32: store pruned kernels in TFLite's sparse format. A smaller raw file, at the same speed."""
    decode: DecodeSetting = None
    """true, or {ram: 16 KB}, for tflm: beside the file, one whose kernels are stored in fewer bytes of flash (tables of
    shared values, bit masks of zeros, Huffman codes) and decoded into RAM at every run; those of an LSTM
    as one op stay as they are."""
    least_snr_db: float | None = None
    """Signal-to-noise ratio against the float file's outputs that the file has to exceed, in decibels; 10 if not given.
    Where max_drop holds the file to a metric, no ratio is asked for unless it is given here."""

    @model_validator(mode="before")
    @classmethod
    def _target_with_options(cls, given: Any) -> Any:
        return options_with_name(given)

    @model_validator(mode="after")
    def _fits_together(self) -> Export:
        self.check_together()
        return self

    def check_together(self) -> None:
        """Checks settings that were checked each for itself.

        Raises:
            ValueError: They do not go together; a sentence without a full stop.
        """
        mode, target = MODES[self.mode], TARGETS[self.target]
        if not target.runs(mode):
            raise ValueError(
                f"target {self.target} ({target.about}) does not run mode {self.mode}. "
                f"Take one of {', '.join(target.modes)}"
            )
        self._fits_mode(mode)
        self._check_recurrent(mode)
        self._check_rules(mode)
        if self.decode is not None and not target.decodes:
            able = ", ".join(other.name for other in TARGETS.values() if other.decodes)
            raise ValueError(
                f"decode is for target {able}: the runtime of {self.target} does not decode kernels. Leave it out"
            )
        for sentence in itertools.chain(target.wrong_options(self.target_options), target.refusals(self)):
            raise ValueError(sentence)

    @classmethod
    def refusal(cls, **settings: Any) -> str:
        """Why settings do not go together, a sentence without a full stop; empty where they do.

        Args:
            settings: Settings by name, each of which was checked for itself.
        """
        try:
            cls.model_construct(**settings).check_together()
        except ValueError as error:
            return str(error)
        return ""

    def _fits_mode(self, mode: Mode) -> None:
        if self.io is not None and not mode.static:
            raise ValueError(
                f"io is for modes that compute in integers: {self.mode} has the model's own inputs and outputs. "
                "Leave it out"
            )
        if self.io not in (None, "float32", mode.io):
            raise ValueError(f"the inputs and outputs of {self.mode} are {mode.io} or float32. Received: {self.io}")
        if "ranges" in self.model_fields_set and not mode.static:
            raise ValueError(f"ranges is for modes that compute in integers, not for {self.mode}. Leave it out")
        if self.scales != "auto" and not mode.rules:
            raise ValueError(f"scales is for modes with integer kernels, not for {self.mode}. Leave it out")
        if self.scales == "fewest" and not mode.static:
            able = ", ".join(other.name for other in MODES.values() if other.static)
            raise ValueError(
                f"scales: fewest is for modes that compute in integers ({able}), not for {self.mode}. Leave it out"
            )
        if self.reconstructs and not mode.static:
            able = ", ".join(other.name for other in MODES.values() if other.static)
            raise ValueError(
                f"rounding, bias_correction and clipping are for modes that compute in integers ({able}), not for "
                f"{self.mode}. Leave them out"
            )
        if self.rounding_seconds != DEFAULT_SECONDS and not ROUNDINGS[self.rounding].tries:
            raise ValueError(
                f"rounding_seconds is for rounding: auto, not for {self.rounding}. Leave it out. "
                f"Received: {self.rounding_seconds:g}"
            )
        if self.least_snr_db is not None and not mode.quantizes:
            raise ValueError(f"least_snr_db is for modes that quantize, not for {self.mode}. Leave it out")
        if self.sparse and not mode.sparse:
            able = ", ".join(other.name for other in MODES.values() if other.sparse)
            raise ValueError(
                f"sparse is for mode {able}: LiteRT does not load sparse {self.mode} kernels. Leave it out, and look "
                "at the gzip size, which has the zeros' worth"
            )

    def _check_recurrent(self, mode: Mode) -> None:
        if self.unroll is not None and self.recurrent != "auto":
            raise ValueError(f"unroll is the older word for recurrent. Leave it out. Received: {self.unroll}")
        if self.stateful and self.recurrence in ("unrolled", "loop"):
            raise ValueError(
                "stateful keeps the state of layers that are one op. Write recurrent: fused, or leave it out. "
                f"Received: {self.recurrence}"
            )
        if self.stateful and self.batch != 1:
            raise ValueError(f"stateful is for one sequence at a time. Leave batch out. Received: {self.batch}")
        if (self.recurrent == "fused" or self.stateful) and not mode.fuses:
            raise ValueError(
                f"recurrent layers as one op are not for mode {self.mode}: LiteRT's takes no data of 16 bits. Take "
                "int8, or leave it out"
            )

    def _check_rules(self, mode: Mode) -> None:
        for rule in self.rules:
            if not mode.rules:
                raise ValueError(f"rules are for modes that quantize, not for {self.mode}. Leave them out")
            if rule.to is not None and rule.to not in mode.rules:
                raise ValueError(f"a layer of mode {self.mode} can be {', '.join(mode.rules)}. Received: {rule.to}")

    @property
    def reconstructs(self) -> bool:
        """Whether integers are chosen by anything but the quantizer."""
        rounds = self.rounding != "nearest" or any(rule.rounding not in (None, "nearest") for rule in self.rules)
        return rounds or bool(self.bias_correction) or self.clipping != "none"

    @property
    def corrects_biases(self) -> bool:
        """Whether biases take up the mean error."""
        return self.rounding != "nearest" if self.bias_correction is None else self.bias_correction

    def without_rounding(self) -> Self:
        """The same settings with the integers of the quantizer itself."""
        plain: dict[str, Any] = {"rounding": "nearest", "bias_correction": None, "clipping": "none"}
        plain["rounding_seconds"] = DEFAULT_SECONDS
        rules = tuple(rule.model_copy(update={"rounding": None}) for rule in self.rules if rule.to)
        return self.model_copy(update={**plain, "rules": rules})

    @property
    def recurrence(self) -> Recurrent:
        """How recurrent layers are to be computed, whichever word says so; `auto` where that takes a try."""
        floats = not MODES[self.mode].static
        if self.unroll is False:
            return "loop"
        if self.unroll and not floats:
            return "unrolled"
        if self.recurrent != "auto":
            return self.recurrent
        if self.stateful:
            return "fused"
        return "loop" if floats and TARGETS[self.target].unrolls else "auto"

    @property
    def smallest(self) -> bool:
        """Whether the smaller file is wanted where it is the slower one."""
        return False

    def asked(self) -> dict[str, Any]:
        """The settings that matter in this mode."""
        static = (
            {"io", "ranges", "unroll", "rounding", "rounding_seconds", "bias_correction", "clipping"}
            if not MODES[self.mode].static
            else set()
        )
        static |= {"scales"} if not MODES[self.mode].rules else set()
        written = self.model_dump(mode="json")
        written |= {"recurrent": self.recurrence} if "unroll" in static else {}
        return {name: value for name, value in written.items() if name not in static}

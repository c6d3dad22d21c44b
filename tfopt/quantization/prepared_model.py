"""A model as it is converted to float32 once, from which every quantized file is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np

from tfopt.errors import ConversionError
from tfopt.metrics import Outputs, compare_outputs
from tfopt.quantization import quantizer, rules, validation
from tfopt.quantization.calibration import ActivationExtremes, observe_extremes
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.masks import Masks
from tfopt.quantization.recurrent.cell_extremes import with_cell_states
from tfopt.quantization.rounding.plan import RoundingSettings
from tfopt.quantization.rounding.reconstruction import Reconstructed, Reconstruction
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES
from tfopt.tflite.file import Op
from tfopt.tflite.interpreter import Runner

CHECKED_SAMPLES = 8
JudgedBy = Literal["snr", "metric", "gate", "training"]


@dataclass(frozen=True)
class PreparedModel:
    """One float conversion, from which every quantized file is made.

    Args:
        model: The model, in float32.
        source: The float file.
        samples: Representative inputs `(samples, ...)` by input name.
        export: Settings of the file.
        notes: Remarks on the conversion and its comparison with Keras.
        masks: The values that masks put out of play, whose constants the float file has near the others.
        unmasked: Bytes of the float file as it was before that, where there are masks.
        converted: The quantized file where TFLiteConverter had to make it, which takes no rules.
        judged_by: What decides on outputs that are noisy: the SNR alone; a metric, beside which the SNR is a note; a
            gate, which is a metric of the finished file and does not say where the noise comes from; or a training
            that had the noise in it, after which only outputs that are all noise are refused.
        trained: Ranges by tensor name that a training has set; None where the samples set them.
        one_scale: Numbers of the ops whose kernels were chosen to have one scale, with `scales: fewest`.
        remarks: Remarks on how the integers of a file were chosen, by the file's bytes.
    """

    model: keras.Model
    source: FloatModel
    samples: dict[str, np.ndarray]
    export: Export
    notes: tuple[str, ...] = ()
    masks: Masks = field(default_factory=Masks)
    unmasked: bytes | None = None
    converted: bytes | None = None
    judged_by: JudgedBy = "snr"
    trained: Mapping[str, Any] | None = None
    one_scale: frozenset[int] = frozenset()
    remarks: dict[bytes, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def extremes(self) -> ActivationExtremes:
        """The extremes of each activation on the samples, measured once."""
        content, samples = self.source.content, self.masks.clipped(self.samples)
        stream = self.export.stateful
        seen = self.masks.bounded(observe_extremes(content, samples, stream))
        return with_cell_states(content, samples, seen, stream)

    def ranges(self, method: str | None = None) -> Mapping[str, Any] | None:
        """The range of each tensor by name; None in modes that take none.

        Args:
            method: A range method in `RANGES`, for ranges of the samples; that of the export settings if not given.
        """
        if not MODES[self.export.mode].static:
            return None
        return self.extremes.ranges(method or self.export.ranges) if self.trained is None else self.trained

    @cached_property
    def few(self) -> dict[str, np.ndarray]:
        """A few samples, to compare outputs on."""
        return {name: array[:CHECKED_SAMPLES] for name, array in self.samples.items()}

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """The float file's outputs on the few samples."""
        return Runner(self.unmasked or self.source.content)(self.few)

    def with_samples(self, samples: Mapping[str, np.ndarray]) -> PreparedModel:
        """The same with other samples `(samples, ...)` by input name."""
        masks = self.masks.on(self.unmasked or self.source.content, samples)
        return replace(self, samples=dict(samples), masks=masks)

    def with_io(self, io: str) -> PreparedModel:
        """The same with another type of inputs and outputs."""
        return self._like(replace(self, export=self.export.model_copy(update={"io": io})))

    def with_scales(self, scales: Literal["channel", "tensor"]) -> PreparedModel:
        """The same with other scales of kernels."""
        return self._like(replace(self, export=self.export.model_copy(update={"scales": scales})))

    def with_one_scale(self, ops: Iterable[int]) -> PreparedModel:
        """The same with one scale for each kernel of these ops, by number."""
        return self._like(replace(self, one_scale=frozenset(ops)))

    def judged(self, by: JudgedBy) -> PreparedModel:
        """The same with something else that decides on noisy outputs."""
        return self._like(replace(self, judged_by=by), "file")

    def with_notes(self, notes: Iterable[str]) -> PreparedModel:
        """The same with other remarks."""
        return self._like(replace(self, notes=tuple(notes)), "file")

    def with_ranges(self, trained: Mapping[str, Any]) -> PreparedModel:
        """The same with ranges that a training has set."""
        return self._like(replace(self, trained=trained))

    def _like(self, other: PreparedModel, *also: str) -> PreparedModel:
        """Another model of the same float file and samples, with what was measured of them already."""
        known = ("extremes", "few", "expected", "assigned", *also)
        vars(other).update({name: vars(self)[name] for name in known if name in vars(self)})
        return other

    @property
    def loops(self) -> tuple[Op, ...]:
        """The loops of the float file."""
        return tuple(op for op in self.source.ops if op.facts.loop)

    @property
    def fused(self) -> tuple[Op, ...]:
        """The recurrent layers of the float file that are one op."""
        return tuple(op for op in self.source.ops if op.facts.recurrent)

    def snr(self, content: bytes) -> float:
        """The signal-to-noise ratio of a file's outputs against the float file's, in decibels; of several the worst."""
        return self.snr_of(Runner(content)(self.few))

    def snr_of(self, got: Outputs) -> float:
        """`snr` of a file's outputs on the few samples."""
        validation.check_finite(got)
        return min(compare_outputs({name: self.expected[name]}, got)["snr_db"] for name in self.expected)

    @cached_property
    def assigned(self) -> rules.PrecisionAssignment:
        """The rules, resolved."""
        return rules.resolve(self.export.rules, self.source, self.export.mode)

    @cached_property
    def file(self) -> bytes:
        """The quantized file of the export settings, with its tensor names, not yet checked; made once."""
        return self.quantized()

    def precision(self, index: int, given: Mapping[int, str] | None = None) -> str:
        """The precision of an op: that which it is given, else that which its mode has for it.

        Args:
            index: Its number.
            given: Precision by op number; that of the rules if not given.
        """
        mode = MODES[self.export.mode]
        own = mode.precision
        if mode.weights == "int4" and quantizer.supports(self.source.ops[index], mode.name, "int4"):
            own = "int4"
        return (self.assigned.precisions if given is None else given).get(index, own)

    def one_scale_at(self, given: Mapping[int, str]) -> frozenset[int]:
        """The ops whose kernels have one scale, without kernels of another precision than the one it was chosen at.

        Args:
            given: Precision by op number.
        """
        other = {i for i in self.one_scale if self.precision(i, given) != self.precision(i)}
        again = {tensor.name for i in other for tensor in self.source.ops[i].kernels}
        return frozenset(i for i in self.one_scale if not again & {t.name for t in self.source.ops[i].kernels})

    @property
    def scales(self) -> str:
        """The scales of kernels as the quantizer takes them, which are not chosen by what a file bears."""
        return "auto" if self.export.scales == "fewest" else self.export.scales

    @property
    def rounding(self) -> RoundingSettings:
        """How the settings say that integers are chosen."""
        export = self.export
        by_op = tuple(self.assigned.roundings.items())
        return RoundingSettings(
            export.rounding, export.corrects_biases, export.clipping, by_op, export.rounding_seconds
        )

    def quantized(
        self,
        precisions: Mapping[int, str] | None = None,
        algorithms: Mapping[int, str] | None = None,
        ranges: str | None = None,
        rounding: RoundingSettings | None = None,
    ) -> bytes:
        """A quantized file with its tensor names, not yet checked.

        Args:
            precisions: Precision by op number, on top of the rules.
            algorithms: Algorithm by op number, see `quantizer.quantize`.
            ranges: A range method in `RANGES`; that of the export settings if not given.
            rounding: How integers are chosen; as the export settings say if not given.
        """
        mode = MODES[self.export.mode]
        if not mode.quantizes:
            return self.source.content
        if self.converted is not None:
            if precisions:
                raise ConversionError("TFLiteConverter, which made the file, gives single layers no precision.")
            return self.converted
        made = self.reconstructed(precisions, algorithms, ranges, rounding)
        if made.notes:
            self.remarks[made.content] = made.notes
        return made.content

    def reconstructed(
        self,
        precisions: Mapping[int, str] | None = None,
        algorithms: Mapping[int, str] | None = None,
        ranges: str | None = None,
        rounding: RoundingSettings | None = None,
    ) -> Reconstructed:
        """`quantized` by the quantizer, with the integers that were chosen and what there is to say of them."""
        mode, settings = MODES[self.export.mode], rounding or self.rounding
        given, export, own = {**self.assigned.precisions, **(precisions or {})}, self.export, self.ranges(ranges)

        def write(source: FloatModel, handed: Mapping[str, Any]) -> bytes:
            # A scale that is handed over is not for octav to clip again.
            kept = {i: name for i, name in (algorithms or {}).items() if not handed}
            every = {**own, **handed} if own is not None else None
            return quantizer.quantize(
                source, mode.name, every, given, export.io, kept, self.scales, self.one_scale_at(given)
            )

        if not mode.static or not settings.changes:
            return Reconstructed(write(self.source, {}))
        samples = self.masks.clipped(self.samples)
        return Reconstruction(self.source, samples, own or {}, write, settings, export.stateful).file()

"""A Keras model to the bytes of a `.tflite`, run on LiteRT before it is handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tfopt import flatbuffer, models, tflm
from tfopt.artifact import Skipped
from tfopt.errors import ConversionError, InputError
from tfopt.evaluate import compare
from tfopt.litert import Runner
from tfopt.precision import MODES, TARGETS, Export
from tfopt.quantization import engine, rebuild, rules
from tfopt.quantization.audit import Audit, audit, left_in_float
from tfopt.quantization.converter import post_training
from tfopt.quantization.float_model import FloatModel, to_float, trace
from tfopt.quantization.ranges import Extremes, observe
from tfopt.quantization.samples import fitted, gathered
from tfopt.tflite import read

CHECKED_SAMPLES = 8
# Far above the rounding of one framework against the other, far below what an uninitialised file gives.
FLOAT_TOLERANCE = 1e-3
# Outputs that carry less signal than error are no result of a quantization, but of a mistake.
LEAST_SNR_DB = 0.0
# A recurrent model all in integers is taken above this; below it, its loops stay in float.
RECURRENT_SNR_DB = 10.0
# Two sets of int8 kernels round differently; two that compute different things are far below this.
MICRO_SNR_DB = 20.0


@dataclass(frozen=True)
class Conversion:
    """A finished file.

    Args:
        content: The bytes of the `.tflite`.
        skipped: Ops that stayed in floating point although the mode quantizes, and what a rule could not reach.
        audit: What became of each op.
        notes: What was done besides, where a route failed and another was taken.
        figures: What the target's own runtime measured: `arena_bytes` and `tflm_max_error` for microcontrollers.
    """

    content: bytes
    skipped: tuple[Skipped, ...]
    audit: Audit
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """One float conversion, from which every quantized file is made.

    Args:
        model: The model, in float32.
        source: The float file.
        samples: Representative inputs by name.
        export: What was asked for.
        notes: What was done besides, and what it was compared with.
        converted: The quantized file where it had to be made by TFLiteConverter, which knows no rules.
    """

    model: keras.Model
    source: FloatModel
    samples: dict[str, np.ndarray]
    export: Export
    notes: tuple[str, ...] = ()
    converted: bytes | None = None

    @cached_property
    def extremes(self) -> Extremes:
        """What each activation reaches on the samples; looked at once."""
        return observe(self.source.content, self.samples)

    @cached_property
    def few(self) -> dict[str, np.ndarray]:
        """Some samples, to compare outputs on."""
        return {name: array[:CHECKED_SAMPLES] for name, array in self.samples.items()}

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """The float file's outputs on them."""
        return Runner(self.source.content)(self.few)

    @cached_property
    def assigned(self) -> rules.Assignment:
        """The rules, resolved."""
        return rules.resolve(self.export.rules, self.source, self.export.mode)

    def quantized(
        self,
        precisions: Mapping[int, str] | None = None,
        algorithms: Mapping[int, str] | None = None,
        ranges: str | None = None,
    ) -> bytes:
        """A quantized file with its tensor names, not yet checked.

        Args:
            precisions: By an op's number, on top of the rules.
            algorithms: By an op's number, see `engine.quantize`.
            ranges: `minmax` or `percentile`, if not what was asked for.
        """
        mode = MODES[self.export.mode]
        if mode.name == "float32":
            return self.source.content
        if self.converted is not None:
            if precisions:
                raise ConversionError("TFLiteConverter, which made the file, gives single layers no precision.")
            return self.converted
        found = self.extremes.ranges(ranges or self.export.ranges) if mode.static else None
        given = {**self.assigned.precisions, **(precisions or {})}
        return engine.quantize(self.source, mode.name, found, given, self.export.io, algorithms)


def convert(
    model: Any,
    mode: str = "int8",
    calibration: Any = None,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
    **settings: Any,
) -> bytes:
    """The `.tflite` of a model, run on LiteRT against the model before it is handed over.

    Example:
        ```python
        Path("model.tflite").write_bytes(tfopt.convert(model, "int8", calibration=x_train[:200]))
        ```

    Args:
        model: A Keras 3 or tf_keras model, or the path of a `.keras` or `.h5` file or of a SavedModel folder.
        mode: `float32`, `float16`, `dynamic`, `weight_only`, `int8`, `int16x8` or `int4`.
        calibration: Representative inputs, preprocessed as for the model: an array `(samples, ...)`, a list of arrays
            in the order of the inputs, a dict of arrays by input name, or a `tf.data.Dataset`. 100 to 200 samples are
            plenty. The modes that compute in integers need them; the others use them for the check alone.
        custom_objects: Classes and functions that a model file is made of, by name.
        trust: Load Python code that a model file carries (a Lambda layer).
        **settings: Any other field of `tfopt.Export`: `io`, `rules`, `ranges`, `batch`, `target`, `slim`, `sparse`.

    Returns:
        The file.

    Raises:
        InputError: Settings that do not go together, no calibration samples, a model that cannot be read.
        ConversionError: The model cannot be converted, or LiteRT cannot run it or gives something else than Keras.
    """
    export = Export(**{"mode": mode, **settings})
    return convert_with_notes(models.as_keras3(model, custom_objects, trust), export, calibration).content


def convert_with_notes(model: keras.Model, export: Export, calibration: Any = None) -> Conversion:
    """`convert` with what could not be quantized, what became of each op, and what was done besides."""
    prepared = settled(prepare(model, export, calibration))
    return finish(prepared, prepared.quantized())


def prepare(model: keras.Model, export: Export, calibration: Any = None) -> Prepared:
    """Converts a model to float32 and compares the file with it.

    Raises:
        InputError: No calibration samples for a mode that computes in integers, or samples that do not fit.
        ConversionError: The model cannot be converted, or the file gives something else than Keras.
    """
    model = rebuild.in_float32(model)
    calibration = gathered(calibration, model)
    if MODES[export.mode].static and calibration is None:
        raise InputError(f"{export.mode} needs representative inputs: hand over calibration samples.", ("mode",))
    batch = None if export.batch == "any" else export.batch
    source = to_float(model, calibration, batch, export.sparse)
    details = Runner(source.content).inputs
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []] or list(details)
    prepared = Prepared(model, source, fitted(calibration, names, details), export)
    _check_float(prepared)
    return prepared


def finish(prepared: Prepared, content: bytes) -> Conversion:
    """A file with its names, checked against the float one, looked over and slimmed.

    Raises:
        ConversionError: It computes something else than the float file, or the target cannot run it.
    """
    export, mode = prepared.export, MODES[prepared.export.mode]
    summary, source = read(content), prepared.source
    asked = {source.ops[i].outputs[0].name for i, to in prepared.assigned.precisions.items() if to == "float"}
    skipped = left_in_float(summary, mode, asked) if mode.name != "float32" else ()
    if mode.name != "float32":
        if not any(t.parameter and len(t.shape) > 1 and t.dtype != "FLOAT32" for t in summary.tensors):
            raise ConversionError(
                f"nothing could be quantized to {mode.name}: the file would be the float one. "
                f"Ops: {', '.join(dict.fromkeys(op.name for op in summary.ops))}."
            )
        snr = _compared(prepared, content)
        if snr <= LEAST_SNR_DB:  # a file that gives nothing but 0 is at 0 dB
            raise ConversionError(
                f"the {mode.name} file gives something else than the float one: its error is as strong as its outputs "
                f"(SNR {snr:.1f} dB). Take calibration samples that are preprocessed as for the model, or another mode."
            )
    looked = audit(source, content)
    _check_target(looked, export)
    content = _slimmed(content, prepared.few) if export.slim else flatbuffer.pack(flatbuffer.parse(content))
    figures = _on_microcontrollers(content, prepared.few) if export.target == "tflm" else {}
    return Conversion(content, (*skipped, *prepared.assigned.skipped), looked, prepared.notes, figures)


def check_finite(outputs: Mapping[str, np.ndarray]) -> None:
    """Refuses a file that computes NaN or infinity.

    Raises:
        ConversionError: Some output value is not finite.
    """
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ConversionError(f"the file computes values that are not finite on LiteRT, in output {name!r}.")


def _compared(prepared: Prepared, content: bytes) -> float:
    """The signal-to-noise ratio of a file's outputs against the float file's, in decibels."""
    got = Runner(content)(prepared.few)
    check_finite(got)
    return compare(prepared.expected, got)["snr_db"]


def _check_float(prepared: Prepared) -> None:
    got = prepared.expected
    check_finite(got)
    for name, value in models.call(prepared.model, prepared.few).items():
        theirs, mine = keras.ops.convert_to_numpy(value).astype(np.float32), got[name]
        if not np.isfinite(theirs).all():
            raise ConversionError(f"the Keras model itself computes values that are not finite, in output {name!r}.")
        error, scale = np.abs(theirs - mine).max(), max(np.abs(theirs).max(), 1e-6)
        if error > FLOAT_TOLERANCE * scale:
            raise ConversionError(
                f"the float file gives something else than Keras in output {name!r}: they differ by {error:.3g} "
                f"where the values reach {scale:.3g}. A layer with randomness in inference would do that."
            )


def settled(prepared: Prepared) -> Prepared:
    """The same, unrolled, where a mode of integers would leave loops in float and unrolling brings good integers.

    Its `notes` say what was tried and how it went.
    """
    export = prepared.export
    if not MODES[export.mode].static or not any(op.name == "WHILE" for op in prepared.source.ops):
        return prepared
    kept = "loops stay in float"
    if not export.unroll:
        return replace(prepared, notes=(f"{kept}, as asked (unroll: false)",))
    model = rebuild.unrolled(prepared.model)
    if model is None:
        why = f"their length is not fixed or above {rebuild.LONGEST} steps, or the model is subclassed"
        return replace(prepared, notes=(f"{kept}: {why}",))
    tried: list[str] = []
    for route in (_by_quantizer, _by_converter):
        try:
            flat = route(prepare(model, export, prepared.samples))
            snr = _compared(flat, flat.quantized())
            if snr >= RECURRENT_SNR_DB:
                how = "by TFLiteConverter, " if flat.converted else ""
                return replace(flat, notes=(*tried, f"loops were unrolled and quantized, {how}SNR {snr:.1f} dB"))
            tried.append(f"unrolled, the SNR is {snr:.1f} dB")
        except ConversionError as error:
            tried.append(f"unrolled, {error}")
    return replace(prepared, notes=(*tried, kept))


def _by_quantizer(prepared: Prepared) -> Prepared:
    return prepared


def _by_converter(prepared: Prepared) -> Prepared:
    """The same with the int8 file of TFLiteConverter."""
    export = prepared.export
    if export.mode != "int8" or export.rules or export.batch != 1:
        raise ConversionError("TFLiteConverter knows no rules, other modes than int8 or other batches than 1.")
    content = post_training(trace(prepared.model, prepared.samples, 1), prepared.samples, export.io or "int8")
    return replace(prepared, converted=content)


def _check_target(looked: Audit, export: Export) -> None:
    target = TARGETS[export.target]
    if looked.flex:
        raise ConversionError(f"the file needs TensorFlow itself for {looked.flex[0]}, which no edge runtime has.")
    if target.integers and looked.floating:
        raise ConversionError(
            f"target {target.name} computes in integers alone, and {len(looked.floating)} ops would stay in float: "
            f"{', '.join(looked.floating[:3])}. Write the layer with others, or take target litert."
        )


def _on_microcontrollers(content: bytes, samples: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Runs a file on LiteRT for Microcontrollers against LiteRT itself."""
    expected, run = Runner(content)(samples), tflm.run(content, samples)
    check_finite(run.outputs)
    differences = compare(expected, run.outputs)
    if differences["snr_db"] < MICRO_SNR_DB:
        raise ConversionError(
            "TFLM gives something else than LiteRT for the file: they differ by "
            f"{differences['max_error']:.3g} (SNR {differences['snr_db']:.1f} dB). Take another mode or other layers."
        )
    return {"arena_bytes": float(run.arena_bytes), "tflm_max_error": differences["max_error"]}


def _slimmed(content: bytes, samples: Mapping[str, np.ndarray]) -> bytes:
    """The file without its names, run against itself with them: every output bit has to be the same."""
    slim = flatbuffer.slim(content)
    one = {name: array[:1] for name, array in samples.items()}
    for delegate in (True, False):
        try:
            before = Runner(content, delegate=delegate)(one)
        except ConversionError:
            if delegate:
                raise
            continue  # some scales, of outputs that are all but constant, only XNNPACK takes
        after = Runner(slim, delegate=delegate)(one)
        if any(not np.array_equal(before[name], after[name], equal_nan=True) for name in before):
            raise ConversionError("the file without its tensor names computes something else. Write slim: false.")
    return slim

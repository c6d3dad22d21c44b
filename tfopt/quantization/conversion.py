"""Conversion of a Keras model to the bytes of a `.tflite`, checked on LiteRT."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from tfopt.errors import ConversionError, DataError, InputError, ModelError, TfoptWarning
from tfopt.metrics import compare_outputs
from tfopt.models import clone, loading
from tfopt.models.keras2.migration import Comparison
from tfopt.models.layers import replaced_by, walk
from tfopt.models.requirements import check_call, check_not_quantized
from tfopt.output_capture import captured
from tfopt.quantization import identities, noise_sources, validation
from tfopt.quantization.calibration_data import collect_samples, match_inputs, random_samples
from tfopt.quantization.converter_fallback import post_training
from tfopt.quantization.float_conversion import to_float, trace
from tfopt.quantization.input_range import input_range_warnings
from tfopt.quantization.mask_rewrite import bring_near
from tfopt.quantization.op_audit import audit, is_quantized, left_in_float
from tfopt.quantization.op_replacement import stay_in_float
from tfopt.quantization.prepared_model import JudgedBy, PreparedModel
from tfopt.quantization.refusals import check_batched, check_text, random_part
from tfopt.recipe.artifact import Skipped
from tfopt.recipe.details.quantization import Audit
from tfopt.recipe.export import MODES, TARGETS, Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import FileSummary, read
from tfopt.tflite.interpreter import Runner

# Signal-to-noise ratio below which a file is said to be noisy.
GOOD_SNR_DB = 20.0
# A recurrent model is quantized entirely above this ratio; below it, its loops stay in float.
RECURRENT_SNR_DB = 10.0
_KEPT = "loops stay in float"


@dataclass(frozen=True)
class Conversion:
    """A finished file.

    Args:
        content: The bytes of the `.tflite`.
        skipped: Ops that stayed in floating point although the mode quantizes, or that a rule could not reach.
        audit: Storage and computation of each op.
        notes: Remarks, such as on a route that failed and the one taken instead.
        warnings: What a user has to know before the file is used, sentences without a full stop.
        figures: `calibration_snr_db` (decibels) and `calibration_max_error` against the float file on some of the
            samples, and measurements of the target's own runtime: `arena_bytes` and `tflm_max_error` for
            microcontrollers.
        warnings: What may make the file poor, such as calibration samples of another range than the model's inputs.
    """

    content: bytes
    skipped: tuple[Skipped, ...]
    audit: Audit
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


def convert(
    model: Any,
    mode: str = "int8",
    calibration: Any = None,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trust: bool = False,
    **settings: Any,
) -> bytes:
    """Converts a model to a `.tflite`, compared with the model on LiteRT.

    Example:
        ```python
        Path("model.tflite").write_bytes(tfopt.convert(model, "int8", calibration=x_train[:200]))
        ```

    Args:
        model: A Keras 3 or tf_keras model, or the path of a `.keras` or `.h5` file or of a SavedModel folder.
        mode: A mode, such as `float32`, `float16`, `dynamic`, `weight_only`, `int8`, `int16x8` or `int4`.
        calibration: Representative inputs, preprocessed as for the model: an array `(samples, ...)`, a list of arrays
            in the order of the inputs, a dict of arrays by input name, or a `tf.data.Dataset`. 100 to 200 samples are
            plenty. The modes that compute in integers need them; the others use them for the check alone.
        custom_objects: Classes and functions that a model file is made of, by name.
        trust: Load Python code that a model file carries (a Lambda layer).
        **settings: Any other field of `tfopt.Export`: `io`, `rules`, `ranges`, `batch`, `target`, `unroll`,
            `slim`, `sparse`, `least_snr_db`.

    Returns:
        The bytes of the file.

    Warns:
        TfoptWarning: The outputs are noisy (an SNR below 20 dB against the float file), rows of zeros give NaN, or the
            samples seem to be scaled in another way than what the model was trained on.

    Raises:
        InputError: Settings that do not go together, no calibration samples, or a model that cannot be read.
        ConversionError: The model cannot be converted, or LiteRT cannot run it or gives something else than Keras.
    """
    export = Export(**{"mode": mode, **settings})
    comparison = Comparison(samples=lambda model: collect_samples(calibration, model))
    admitted = loading.as_keras3(model, custom_objects, trust, comparison)
    made = convert_with_notes(admitted, export, calibration)
    warn(made, stacklevel=3)
    return made.content


def convert_with_notes(
    model: keras.Model, export: Export, calibration: Any = None, judged_by: JudgedBy = "snr"
) -> Conversion:
    """`convert` with the ops that stayed in float, the audit of each op, remarks and warnings."""
    prepared = unroll_if_better(prepare(model, export, calibration)).judged(judged_by)
    return finish(prepared, prepared.quantized())


def warn(made: Conversion, stacklevel: int = 2) -> None:
    """Issues the warnings of a conversion as Python's, for functions that return the file alone."""
    for warning in made.warnings:
        warnings.warn(warning, TfoptWarning, stacklevel=stacklevel)


def prepare(
    model: keras.Model, export: Export, calibration: Any = None, original: keras.Model | None = None
) -> PreparedModel:
    """Converts a model to float32 and compares the file with it.

    Args:
        model: The model.
        export: Settings of the file.
        calibration: Representative inputs, as `convert` takes them.
        original: The model to compare outputs with, where `model` is a rebuilt copy of it.

    Raises:
        InputError: No calibration samples for a mode that computes in integers, or samples that do not fit.
        ConversionError: The model cannot be converted, or the file gives something else than Keras.
    """
    original = model if original is None else original
    if replaced_by(model) is not None:
        raise ModelError(
            "the model computes on the grids of quantization-aware training. Take convert() of what quantize_aware "
            "gave or of the callback; or let go of the model first, with strip() or detach(), also after a fit that "
            "was interrupted."
        )
    check_call(model)
    check_not_quantized(walk(model))
    stateful = [place.path for place in walk(model) if getattr(place.layer, "stateful", False)]
    if stateful:
        raise ModelError(f"{stateful[0]} is stateful, and a file keeps no state. Build it with stateful=False.")
    model = clone.in_float32(model)
    calibration = collect_samples(calibration, model)
    check_text(model, calibration)
    if MODES[export.mode].static and calibration is None:
        raise InputError(f"{export.mode} needs representative inputs: hand over calibration samples.", ("mode",))
    given = calibration is not None
    calibration = calibration if given else random_samples(model)
    batch = None if export.batch == "any" else export.batch
    source = to_float(model, calibration, batch, export.sparse)
    runner = Runner(source.content)
    check_batched(runner.outputs)
    details = runner.inputs
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []] or list(details)
    samples = match_inputs(calibration, names, details)
    if MODES[export.mode].static and all(len(x) > 1 and x.min() == x.max() for x in samples.values()):
        raise DataError("all calibration samples are one and the same value, which shows no ranges. Take real ones.")
    prepared = PreparedModel(model, source, samples, export)
    if MODES[export.mode].static:
        prepared = _selecting_apart(prepared)
    try:
        error = validation.check_against_keras(original, prepared.few, prepared.expected)
    except ConversionError as refused:
        raise _of_randomness(prepared, batch) or refused from refused
    if given and MODES[export.mode].static:
        prepared = replace(prepared, warnings=input_range_warnings(original, samples))
    if not clone.in_half(original):
        return prepared
    note = f"built again in float32; outputs of the model differ by {error:.2g} of their size"
    return replace(prepared, notes=(*prepared.notes, note))


def _selecting_apart(prepared: PreparedModel) -> PreparedModel:
    """The model with what only selects, ids and masks, where no grid has to hold it."""
    source = prepared.source
    integers: tuple[str, ...] = ()
    if prepared.export.io is None:
        content, gone, integers = identities.with_integer_inputs(source.content)
        owners = tuple(places for index, places in enumerate(source.owners) if index not in gone)
        source = replace(source, content=content, ops=read(content).ops, owners=owners)
    details = Runner(source.content).inputs
    samples = {name: array.astype(details[name]["dtype"], copy=False) for name, array in prepared.samples.items()}
    rewritten, masks = bring_near(source, samples)
    return replace(
        prepared,
        source=rewritten,
        samples=samples,
        masks=masks,
        unmasked=source.content,
        notes=(*identities.remarks(source.inputs, integers, source.identities), *masks.remarks()),
    )


def _of_randomness(prepared: PreparedModel, batch: int | None) -> ConversionError | None:
    """The refusal of a model whose outputs are random; None for any other."""
    with captured():
        sentence = random_part(prepared.model, lambda: trace(prepared.model, prepared.samples, batch))
    return ConversionError(sentence) if sentence else None


def finish(prepared: PreparedModel, content: bytes, precisions: Mapping[int, str] | None = None) -> Conversion:
    """Finishes a quantized file: checks it against the float file, audits its ops and removes tensor names.

    Args:
        prepared: The prepared model that the file was made from.
        content: Bytes of the file, with tensor names.
        precisions: Precision by op number, as the accuracy search chose it.

    Raises:
        ConversionError: The file computes something else than the float file, or the target cannot run it.
    """
    export = prepared.export
    mode, target = MODES[export.mode], TARGETS[export.target]
    summary, source = read(content), prepared.source
    reasons = {
        source.ops[i].outputs[0].name: reason
        for given, reason in (
            (precisions or {}, "kept so for the metric"),
            (prepared.assigned.precisions, "a rule keeps it so"),
            (dict.fromkeys(source.identities.ops, "float"), "it computes identities, such as ids"),
            (stay_in_float(source.ops), "its values are too small for integers"),
        )
        for i, to in given.items()
        if to == "float"
    }
    skipped = left_in_float(summary, mode, reasons) if mode.quantizes else ()
    said = _Said()
    if mode.quantizes:
        if not is_quantized(summary):
            raise ConversionError(
                f"nothing could be quantized to {mode.name}: the file would be the float one. "
                f"Ops: {', '.join(dict.fromkeys(op.name for op in summary.ops))}."
            )
        said = _judged(prepared, content)
    looked = audit(source, content)
    validation.check_target(looked, target)
    content = (
        validation.check_slim(content, prepared.few) if export.slim else flatbuffer.pack(flatbuffer.parse(content))
    )
    differences = compare_outputs(prepared.expected, Runner(content)(prepared.few))
    figures = {f"calibration_{name}": differences[name] for name in ("snr_db", "max_error")}
    figures |= validation.measure_on_target(target, content, prepared.few)
    notes = (*prepared.notes, *_remarks(prepared, summary), *said.notes)
    fault = validation.fault_at_zeros(prepared.model, source, content, prepared.few)
    found = (*prepared.warnings, *said.warnings, *([fault] if fault else []))
    return Conversion(content, (*skipped, *prepared.assigned.skipped), looked, notes, found, figures)


@dataclass(frozen=True)
class _Said:
    """What there is to say of a file's noise."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _judged(prepared: PreparedModel, content: bytes) -> _Said:
    """Refuses a file of too much noise, or says of one how noisy it is, and which ops make it so.

    Raises:
        ConversionError: The signal-to-noise ratio is too low.
    """
    export, mode = prepared.export, MODES[prepared.export.mode]
    snr = prepared.snr(content)
    least = {"snr": mode.least_snr_db, "training": 0.0, "metric": -math.inf}[prepared.judged_by]
    least = least if export.least_snr_db is None else export.least_snr_db
    if snr > least and snr >= GOOD_SNR_DB:
        return _Said()
    if snr > least and prepared.judged_by == "metric":
        return _Said(notes=(f"SNR {snr:.1f} dB against the float file; the metric decides",))
    sources = noise_sources.find(prepared, snr)
    validation.check_snr(snr, mode, least, sources)
    return _Said(warnings=(f"the {mode.name} file is noisy: SNR {snr:.1f} dB against the float one{sources}.",))


def _remarks(prepared: PreparedModel, summary: FileSummary) -> Iterator[str]:
    """The remarks for the notes of a conversion."""
    for name in prepared.source.unused_inputs:
        yield f"input {name!r} is not used: no output depends on it"
    if MODES[prepared.export.mode].static:
        seen = [f"{name} from {x.min():.3g} to {x.max():.3g}" for name, x in prepared.samples.items()]
        count = len(next(iter(prepared.samples.values())))
        yield f"calibrated on {count} samples: {', '.join(seen)}"
    if prepared.export.sparse and not any(op.facts.unpacks == "sparse" for op in summary.ops):
        yield "no kernel has zeros enough to be stored sparse"


def unrolled(prepared: PreparedModel) -> tuple[PreparedModel, bool]:
    """The model converted anew with its loops unrolled, and whether that was done.

    The model is unchanged where it has no loops or is not to be unrolled, and has a note where unrolling fails.
    """
    if not prepared.export.unroll or not prepared.loops:
        return prepared, False
    try:
        flat = prepare(clone.unrolled(prepared.model), prepared.export, prepared.samples, prepared.model)
    except (ConversionError, ModelError) as error:
        return replace(prepared, notes=(*prepared.notes, f"{_KEPT}: {error}")), False
    return flat, True


def unroll_if_better(prepared: PreparedModel) -> PreparedModel:
    """The model, unrolled where an integer mode would leave loops in float and the unrolled file is accurate enough.

    The `notes` of the result say what was tried.
    """
    if not MODES[prepared.export.mode].static or not prepared.loops:
        return prepared
    tried = list(prepared.notes)
    if not prepared.export.unroll:
        return replace(prepared, notes=(*tried, f"{_KEPT}, as asked (unroll: false)"))
    flat, done = unrolled(prepared)
    if not done:
        return flat
    if flat.loops:
        return replace(
            prepared, notes=(*tried, f"{_KEPT}: {flat.loops[0].outputs[0].name} is one that does not unroll")
        )
    for route in (_by_quantizer, _by_converter):
        try:
            flat = route(flat)
            snr = flat.snr(flat.quantized())
            if snr >= RECURRENT_SNR_DB:
                how = "by TFLiteConverter, " if flat.converted else ""
                loop = f"{len(prepared.source.content):,} B"
                note = f"loops were unrolled and quantized, {how}SNR {snr:.1f} dB; with loops, in float32, it is {loop}"
                return replace(flat, notes=(*tried, note))
            tried.append(f"unrolled, the SNR is {snr:.1f} dB")
        except ConversionError as error:
            tried.append(f"unrolled, {error}")
    return replace(prepared, notes=(*tried, _KEPT))


def _by_quantizer(prepared: PreparedModel) -> PreparedModel:
    return prepared


def _by_converter(prepared: PreparedModel) -> PreparedModel:
    """The prepared model with the int8 file that TFLiteConverter makes of it."""
    export = prepared.export
    able = ", ".join(mode.name for mode in MODES.values() if mode.by_converter)
    if not MODES[export.mode].by_converter or export.rules or export.batch != 1:
        raise ConversionError(f"TFLiteConverter knows no rules, other modes than {able} or other batches than 1.")
    with captured():
        traced = trace(prepared.model, prepared.samples, 1, prepared.source.replaced)
    types = [tensor.dtype.as_numpy_dtype for tensor in traced.function.inputs[: len(traced.inputs)]]
    integers = [prepared.samples[name].dtype for name in traced.inputs] != types
    if integers or prepared.source.identities.tensors or prepared.masks.tensors:
        raise ConversionError("TFLiteConverter puts ids and masks on one grid with quantities.")
    content = post_training(traced, prepared.samples, export.io or "int8")
    return replace(prepared, converted=content)

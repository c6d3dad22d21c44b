"""The form of recurrent layers in a file: one op each, unrolled over their time steps, or loops in float."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tfopt.errors import ConversionError, ModelError
from tfopt.models import clone
from tfopt.output_capture import captured
from tfopt.quantization.arena_choice import spared_by_loops
from tfopt.quantization.converter_fallback import post_training
from tfopt.quantization.float_conversion import trace
from tfopt.quantization.preparation import prepare
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.recurrent.fused_call import unfusable
from tfopt.recipe.modes import MODES
from tfopt.recipe.target import TARGETS

# A recurrent model is quantized entirely above this ratio; below it, its loops stay in float.
RECURRENT_SNR_DB = 10.0
_FLOAT_LOOPS = "loops stay in float"


def unrolled(prepared: PreparedModel) -> tuple[PreparedModel, bool]:
    """The model converted anew with its recurrent layers unrolled, and whether that was done.

    The model is unchanged where it has none or they are not to be unrolled, and has a note where unrolling fails.
    """
    if prepared.export.recurrence == "loop" or not (prepared.loops or prepared.fused):
        return prepared, False
    try:
        flat = clone.unrolled(prepared.model)
        flat_prepared = prepare(flat, prepared.export, prepared.samples, prepared.model, recurrent="unrolled")
    except (ConversionError, ModelError) as error:
        return replace(prepared, notes=(*prepared.notes, f"{_kept(prepared)}: {error}")), False
    return flat_prepared, True


def unroll_if_better(prepared: PreparedModel) -> PreparedModel:
    """The model with its recurrent layers as the settings ask, or as is best: as one op each, unrolled, or loops.

    In modes of integers it is unrolled where the mode would leave loops in float, or where its target is faster so,
    if the unrolled file is accurate enough. The `notes` of the result say what was tried.
    """
    export = prepared.export
    if not (prepared.loops or prepared.fused):
        return prepared
    if not MODES[export.mode].static:
        return unrolled(prepared)[0] if export.recurrence == "unrolled" else _explained(prepared)
    if export.recurrence == "loop":
        return replace(prepared, notes=(*prepared.notes, f"{_FLOAT_LOOPS}, as asked (recurrent: loop)"))
    tried = list(_explained(prepared).notes)
    if prepared.fused and (export.recurrence == "fused" or not _faster_unrolled(prepared)):
        fused = _with_rest_unrolled(prepared)
        if export.recurrence == "fused":
            return fused
        refused = _refusal(fused)
        if not refused:
            return fused
        tried.append(f"as one op, {refused}")
    return _unrolled_or_else(prepared, tried)


def form_to_train(prepared: PreparedModel) -> tuple[PreparedModel, bool]:
    """The model with its recurrent layers as a training for its file computes them, and whether some are unrolled.

    Each LSTM is one op where it is to be one in the file; what is not is unrolled, or a loop where that fails.
    """
    if not prepared.fused or (prepared.export.recurrence != "fused" and _faster_unrolled(prepared)):
        return unrolled(prepared)
    found = _with_rest_unrolled(prepared)
    return found, bool(prepared.loops) and not found.loops


def not_as_asked(prepared: PreparedModel) -> Iterator[str]:
    """The recurrent layers that have another form than the settings ask for."""
    asked = prepared.export.recurrence
    if asked == "fused":
        yield from (f"{path} is not one op (recurrent: fused): {why}." for path, why in prepared.source.unfused.items())
    if asked == "unrolled" and prepared.loops:
        yield "recurrent: unrolled is asked for, and loops stay in the file; a note says why."


def _unrolled_or_else(prepared: PreparedModel, tried: list[str]) -> PreparedModel:
    """The model unrolled where that is accurate enough, else as it is, which the `tried` notes lead up to."""
    flat, done = unrolled(prepared)
    if not done:
        return flat.with_notes((*tried, *flat.notes[len(prepared.notes) :]))
    if flat.loops:
        name = flat.loops[0].outputs[0].name
        return replace(prepared, notes=(*tried, f"{_kept(prepared)}: {name} is one that does not unroll"))
    for route in (_by_quantizer, _by_converter):
        try:
            flat = route(flat)
            snr = flat.snr(flat.file)
            if snr >= RECURRENT_SNR_DB:
                if spared := spared_by_loops(prepared, flat, RECURRENT_SNR_DB):
                    return prepared.with_notes((*tried, spared))
                how = "by TFLiteConverter, " if flat.converted else ""
                note = f"loops were unrolled and quantized, {how}SNR {snr:.1f} dB; {_instead(prepared)}"
                return flat.with_notes((*tried, note))
            tried.append(f"unrolled, the SNR is {snr:.1f} dB")
        except ConversionError as error:
            tried.append(f"unrolled, {error}")
    return replace(prepared, notes=(*tried, _kept(prepared)))


def _faster_unrolled(prepared: PreparedModel) -> bool:
    """Whether speed is wanted, and the target is faster with ops for each time step."""
    return TARGETS[prepared.export.target].unrolls and not prepared.export.smallest


def _kept(prepared: PreparedModel) -> str:
    return _FLOAT_LOOPS if prepared.loops else "each LSTM is one op"


def _instead(prepared: PreparedModel) -> str:
    """What else the file could be, for a note."""
    size = f"{len(prepared.source.content):,} B"
    if not prepared.fused:
        return f"with loops, in float32, it is {size}"
    return f"an LSTM as one op (recurrent: fused) is far smaller, and slower here; in float32 that is {size}"


def _explained(prepared: PreparedModel) -> PreparedModel:
    """The model with notes on the recurrent layers that are not one op, where that was asked for or is best."""
    if prepared.export.recurrence != "fused" and TARGETS[prepared.export.target].unrolls:
        return prepared
    notes = (f"{path} is not one op: {why}" for path, why in prepared.source.unfused.items())
    return replace(prepared, notes=(*prepared.notes, *notes))


def _with_rest_unrolled(prepared: PreparedModel) -> PreparedModel:
    """The model with every LSTM as one op, and the recurrent layers that cannot be one unrolled."""
    told = _explained(prepared)
    if not prepared.loops:
        return told
    try:
        flat = clone.unrolled(prepared.model, but=lambda layer: not unfusable(layer))
        rest = prepare(flat, prepared.export, prepared.samples, prepared.model, recurrent="fused")
    except (ConversionError, ModelError) as error:
        return replace(told, notes=(*told.notes, f"{_FLOAT_LOOPS}: {error}"))
    if rest.loops:
        return replace(told, notes=(*told.notes, _FLOAT_LOOPS))
    if spared := spared_by_loops(told, rest, RECURRENT_SNR_DB):
        return replace(told, notes=(*told.notes, spared))
    return replace(rest, notes=(*told.notes, "what is no LSTM was unrolled"))


def _refusal(prepared: PreparedModel) -> str:
    """Why the quantized file of a model is not taken; empty where it is."""
    try:
        snr = prepared.snr(prepared.file)
    except ConversionError as error:
        return str(error)
    return f"the SNR is {snr:.1f} dB" if snr < RECURRENT_SNR_DB else ""


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

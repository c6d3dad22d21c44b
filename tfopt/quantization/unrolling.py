"""Recurrent models in modes of integers: their loops unrolled, where the unrolled file is accurate enough."""

from __future__ import annotations

from dataclasses import replace

from tfopt.errors import ConversionError, ModelError
from tfopt.models import clone
from tfopt.output_capture import captured
from tfopt.quantization.converter_fallback import post_training
from tfopt.quantization.float_conversion import trace
from tfopt.quantization.preparation import prepare
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.recipe.export import MODES

# A recurrent model is quantized entirely above this ratio; below it, its loops stay in float.
RECURRENT_SNR_DB = 10.0
_KEPT = "loops stay in float"


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
            snr = flat.snr(flat.file)
            if snr >= RECURRENT_SNR_DB:
                how = "by TFLiteConverter, " if flat.converted else ""
                loop = f"{len(prepared.source.content):,} B"
                note = f"loops were unrolled and quantized, {how}SNR {snr:.1f} dB; with loops, in float32, it is {loop}"
                return flat.with_notes((*tried, note))
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

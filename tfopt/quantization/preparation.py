"""The float conversion of a model, compared with Keras, from which its quantized files are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from tfopt.errors import ConversionError, DataError, InputError, ModelError
from tfopt.models import clone
from tfopt.models.layers import replaced_by, walk
from tfopt.models.requirements import check_call, check_not_quantized
from tfopt.output_capture import captured
from tfopt.quantization import identities, validation
from tfopt.quantization.calibration_data import collect_samples, match_inputs, random_samples
from tfopt.quantization.float_conversion import FloatConversion, to_float, trace
from tfopt.quantization.mask_rewrite import bring_near
from tfopt.quantization.padding_check import check_padded
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.recurrent.streaming import check_recurrent
from tfopt.quantization.refusals import check_batched, check_sizes, check_text, random_part
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES, Recurrent
from tfopt.recipe.target import TARGETS
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

ON_RANDOM_INPUTS = "no samples were given: the file was compared with the model on random inputs"


def prepare(
    model: keras.Model,
    export: Export,
    calibration: Any = None,
    original: keras.Model | None = None,
    convert: FloatConversion = to_float,
    recurrent: Recurrent | None = None,
) -> PreparedModel:
    """Converts a model to float32 and compares the file with it.

    Args:
        model: The model.
        export: Settings of the file.
        calibration: Representative inputs, as `convert` takes them.
        original: The model to compare outputs with, where `model` is a rebuilt copy of it.
        convert: Makes the float file.
        recurrent: How recurrent layers are computed, if not as the settings say.

    Raises:
        InputError: No calibration samples for a mode that computes in integers, or samples that do not fit.
        ConversionError: The model cannot be converted, or the file gives something else than Keras.
    """
    rebuilt, original = original is not None, model if original is None else original
    _check_convertible(model)
    model = clone.in_float32(model)
    calibration = collect_samples(calibration, model)
    check_text(model, calibration)
    if MODES[export.mode].static and calibration is None:
        raise InputError(f"{export.mode} needs representative inputs: hand over calibration samples.", ("mode",))
    notes = (ON_RANDOM_INPUTS,) if calibration is None else ()
    calibration = random_samples(model) if calibration is None else calibration
    batch = None if export.batch == "any" else export.batch
    recurrent = recurrent or (export.recurrence if MODES[export.mode].fuses else "loop")
    source = convert(model, calibration, batch, export.sparse, recurrent)
    if export.stateful:
        check_recurrent(source.ops, source.places, source.unfused)
    runner = Runner(source.content)
    check_batched(runner.outputs)
    details = runner.inputs
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []] or list(details)
    samples = match_inputs(calibration, names, details)
    check_sizes(details, samples, TARGETS[export.target])
    if MODES[export.mode].static and all(len(x) > 1 and x.min() == x.max() for x in samples.values()):
        raise DataError("all calibration samples are one and the same value, which shows no ranges. Take real ones.")
    prepared = PreparedModel(model, source, samples, export, notes=notes)
    if MODES[export.mode].static:
        prepared = _with_identities_and_masks_apart(prepared)
    try:
        error = validation.check_against_keras(original, prepared.few, prepared.expected)
    except ConversionError as refused:
        raise _of_randomness(prepared, batch) or refused from refused
    if rebuilt or prepared.fused:
        check_padded(original, source.places, prepared.samples, prepared.unmasked or prepared.source.content)
    if not clone.in_half(original):
        return prepared
    note = f"built again in float32; outputs of the model differ by {error:.2g} of their size"
    return replace(prepared, notes=(*prepared.notes, note))


def _check_convertible(model: keras.Model) -> None:
    """Refuses a model that is not to be converted as it is.

    Raises:
        ModelError: It computes on grids of training, has packed kernels, keeps a state, or cannot be called.
    """
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
        raise ModelError(
            f"{stateful[0]} is stateful, which is for training. Build it with stateful=False; stateful: true in the "
            "settings of the file keeps its state from call to call."
        )


def _with_identities_and_masks_apart(prepared: PreparedModel) -> PreparedModel:
    """The model with what only selects, ids and masks, where no grid has to hold it."""
    source = prepared.source
    integers: tuple[str, ...] = ()
    if prepared.export.io is None:
        content, gone, integers = identities.with_integer_inputs(source.content, prepared.samples)
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
        unmasked=source.content if masks.tensors else None,
        notes=(*identities.remarks(source.inputs, integers, source.identities), *masks.remarks()),
    )


def _of_randomness(prepared: PreparedModel, batch: int | None) -> ConversionError | None:
    """The refusal of a model whose outputs are random; None for any other."""
    with captured():
        sentence = random_part(prepared.model, lambda: trace(prepared.model, prepared.samples, batch))
    return ConversionError(sentence) if sentence else None

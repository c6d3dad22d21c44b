"""The checks that a file has to pass before it is returned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfopt.errors import ConversionError, TargetError
from tfopt.metrics import Outputs, compare_outputs
from tfopt.models import clone, signature
from tfopt.quantization.calibration import values_of
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.remedies import NoiseSources
from tfopt.recipe.details.quantization import Audit
from tfopt.recipe.modes import Mode
from tfopt.recipe.target import Target
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner
from tfopt.user_code import describe

# Largest relative difference: far above float rounding, far below that of an uninitialised file.
FLOAT_TOLERANCE = 1e-3
# The same for a model that computes in 16 bits: bfloat16 has 8 bits of precision.
HALF_TOLERANCE = 5e-2
# Signal-to-noise ratio below which a file is said to be noisy, in decibels.
GOOD_SNR_DB = 20.0
# Number of batches to run through Keras.
KERAS_RUNS = 3


def check_finite(outputs: Mapping[str, np.ndarray], runtime: str = "LiteRT") -> None:
    """Refuses a file that computes NaN or infinity on a runtime.

    Raises:
        ConversionError: Some output value is not finite.
    """
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ConversionError(f"the file computes values that are not finite on {runtime}, in output {name!r}.")


def check_against_keras(
    model: keras.Model, samples: Mapping[str, np.ndarray], got: Outputs, theirs: Outputs | None = None
) -> float:
    """Refuses a float file that computes something else than the model it was made from.

    Args:
        model: The model as it was handed in.
        samples: Inputs `(samples, ...)` by input name; only the first few are used.
        got: Outputs of the file for the samples on LiteRT.
        theirs: Outputs of the model for the first of them, where they are known.

    Returns:
        The largest difference, as a share of the largest output.

    Raises:
        ConversionError: The outputs differ, or some are not finite.
    """
    check_finite(got)
    tolerance = HALF_TOLERANCE if clone.in_half(model) else FLOAT_TOLERANCE
    worst = 0.0
    for name, right in (theirs or by_keras(model, samples)).items():
        mine = got[name][: len(right)]
        if not np.isfinite(right).all():
            raise ConversionError(f"the Keras model itself computes values that are not finite, in output {name!r}.")
        error, scale = np.abs(right - mine).max(), max(np.abs(right).max(), 1e-6)
        if error > tolerance * scale:
            raise ConversionError(
                f"the float file gives something else than Keras in output {name!r}: they differ by {error:.3g} "
                f"where the values reach {scale:.3g}. A layer with randomness in inference would do that."
            )
        worst = max(worst, float(error / scale))
    return worst


def by_keras(model: keras.Model, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keras's outputs for a few samples, one after the other, as many at once take memory."""
    fixed = [tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if tensor.shape[0]]
    step = fixed[0] if fixed else 1
    count = len(next(iter(samples.values())))
    parts = []
    for start in range(0, step * KERAS_RUNS if count > step else 1, step):
        chunk = np.arange(start, start + step) % count
        outputs = _outputs(model, {name: array[chunk] for name, array in samples.items()})
        parts.append({name: keras.ops.convert_to_numpy(value).astype(np.float32) for name, value in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _outputs(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        return signature.call(model, inputs)
    except Exception as error:  # a layer may be the user's own
        raise ConversionError(f"the Keras model itself does not run on the samples: {describe(error)}") from error


def check_snr(snr: float, mode: Mode, least: float, sources: NoiseSources) -> None:
    """Refuses a quantized file whose outputs have little to do with those of the float file.

    Args:
        snr: Signal-to-noise ratio of the outputs against the float file's, in decibels.
        mode: Mode of the file.
        least: The ratio that it has to exceed, in decibels; a file that outputs only 0 is at 0 dB.
        sources: Where the noise comes from.

    Raises:
        ConversionError: The ratio is too low.
    """
    if not snr > least:
        mended = sources.remedy is not None and sources.remedy.snr_db > least
        way = "" if mended else "Take calibration samples that are preprocessed as for the model, or another mode; "
        lower = math.ceil(snr) - 1
        error = ConversionError(
            f"the {mode.name} file gives something else than the float one (SNR {snr:.1f} dB, and it has to exceed "
            f"{least:g}){sources}. {way}least_snr_db: {lower} gives the file as it is."
        )
        error.options = (*sources.options, (f"least_snr_db: {lower}", f"--least-snr {lower}"))
        raise error


def fault_at_zeros(model: keras.Model, source: FloatModel, content: bytes, samples: Mapping[str, np.ndarray]) -> str:
    """What a file gives where all of its inputs are zeros and Keras gives a number: padding, silence, dead units.

    Args:
        model: The model.
        source: The float file that the file was made from.
        content: Bytes of the file.
        samples: Inputs `(samples, ...)` by input name, for their shapes.

    Returns:
        A sentence that names the op at fault; empty where there is no fault.
    """
    if any(array.dtype.kind not in "fiub" for array in samples.values()):
        return ""
    zeros = {name: np.zeros_like(array[:1]) for name, array in samples.items()}  # one zero is like the other
    try:
        got = Runner(content)(zeros)
        if all(np.isfinite(value).all() for value in got.values()):
            return ""
        theirs = by_keras(model, zeros)
    except Exception:  # a model need not take inputs that nobody gave
        return ""
    for name, value in theirs.items():
        if np.isfinite(value).all() and not np.isfinite(got[name][: len(value)]).all():
            return (
                f"where all inputs are 0 the file gives {got[name].ravel()[0]} in output {name!r} and Keras does not: "
                f"{_first_not_finite(source, zeros)}. Keep its input away from 0, such as by adding a small number."
            )
    return ""


def _first_not_finite(source: FloatModel, samples: Mapping[str, np.ndarray]) -> str:
    """The first op of a float file that makes values that are not finite, with the layers that it belongs to."""
    try:
        sizes = [max(int(d["shape_signature"][0]), 1) for d in Runner(source.content).inputs.values()]
        batch = {name: np.resize(array, (max(sizes), *array.shape[1:])) for name, array in samples.items()}
        [finite] = values_of(source.content, [batch], lambda value: bool(np.isfinite(value).all()))
    except (ConversionError, ValueError, RuntimeError):  # a file is not refused for want of a name in a warning
        finite = {}
    for op, places in zip(source.ops, source.owners, strict=True):
        if any(not finite.get(tensor.name, True) for tensor in op.outputs):
            return f"{op.name} of {', '.join(place.path for place in places) or op.outputs[0].name} is not finite"
    return "an op is not finite"


def check_target(looked: Audit, target: Target) -> None:
    """Refuses a file with ops that its target does not have.

    Raises:
        TargetError: The file has ops of TensorFlow, or ops that the target refuses, such as ops in float.
    """
    if looked.flex:
        raise TargetError(f"the file needs TensorFlow itself for {looked.flex[0]}, which no edge runtime has.")
    for sentence in target.file_refusals(looked):
        raise TargetError(f"{sentence}.")


def measure_on_target(target: Target, content: bytes, samples: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Compares a file on its target's own runtime, where there is one, with LiteRT.

    Returns:
        Measurements by name, such as `arena_bytes`, and the largest difference, such as `tflm_max_error`.

    Raises:
        InputError: The target's runtime is not installed.
        ConversionError: The target's runtime does not run the file, or its outputs differ.
    """
    if target.measure is None:
        return {}
    expected, found = Runner(content)(samples), target.measure(content, samples)
    check_finite(found.outputs, f"target {target.name}")
    differences = compare_outputs(expected, found.outputs)
    if differences["snr_db"] < target.least_snr_db:
        raise ConversionError(
            f"target {target.name} gives something else than LiteRT for the file: they differ by "
            f"{differences['max_error']:.3g} (SNR {differences['snr_db']:.1f} dB). Take another mode or other layers."
        )
    return {**found.figures, target.difference: differences["max_error"]}


def check_slim(content: bytes, samples: Mapping[str, np.ndarray]) -> bytes:
    """Removes the tensor names of a file and checks that its outputs stay the same.

    Raises:
        ConversionError: Some output bit differs.
    """
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

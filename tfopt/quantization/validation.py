"""What a file has to stand up to before it is handed over."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from tfopt.errors import ConversionError
from tfopt.metrics import Outputs, compare_outputs
from tfopt.models import clone, signature
from tfopt.recipe.details.quantization import Audit
from tfopt.recipe.export import Target
from tfopt.targets import microcontrollers
from tfopt.tflite import flatbuffer
from tfopt.tflite.interpreter import Runner

# Far above the rounding of one framework against the other, far below what an uninitialised file gives.
FLOAT_TOLERANCE = 1e-3
# Of the model's own computing in 16 bits: bfloat16 has 8 of them for a value's digits.
HALF_TOLERANCE = 5e-2
# How often Keras is asked.
KERAS_RUNS = 3
# Outputs that carry less signal than error are no result of a quantization, but of a mistake.
LEAST_SNR_DB = 0.0
# Two sets of int8 kernels round differently; two that compute different things are far below this.
MICRO_SNR_DB = 20.0


def check_finite(outputs: Mapping[str, np.ndarray]) -> None:
    """Refuses a file that computes NaN or infinity.

    Raises:
        ConversionError: Some output value is not finite.
    """
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ConversionError(f"the file computes values that are not finite on LiteRT, in output {name!r}.")


def against_keras(model: keras.Model, samples: Mapping[str, np.ndarray], got: Outputs) -> float:
    """Refuses a float file that computes something else than the model it was made from.

    Args:
        model: The model as it was handed in.
        samples: `(samples, ...)` by input name; the first few are looked at.
        got: What the file gives for them on LiteRT.

    Returns:
        The largest difference, as a share of the largest output.

    Raises:
        ConversionError: They differ, or one of them is not finite.
    """
    check_finite(got)
    tolerance = HALF_TOLERANCE if clone.in_half(model) else FLOAT_TOLERANCE
    worst = 0.0
    for name, theirs in _by_keras(model, samples).items():
        mine = got[name][: len(theirs)]
        if not np.isfinite(theirs).all():
            raise ConversionError(f"the Keras model itself computes values that are not finite, in output {name!r}.")
        error, scale = np.abs(theirs - mine).max(), max(np.abs(theirs).max(), 1e-6)
        if error > tolerance * scale:
            raise ConversionError(
                f"the float file gives something else than Keras in output {name!r}: they differ by {error:.3g} "
                f"where the values reach {scale:.3g}. A layer with randomness in inference would do that."
            )
        worst = max(worst, float(error / scale))
    return worst


def _by_keras(model: keras.Model, samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keras's outputs for a few samples, one after the other, as many at once take memory."""
    fixed = [tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if tensor.shape[0]]
    step = fixed[0] if fixed else 1
    count = len(next(iter(samples.values())))
    parts = []
    for start in range(0, step * KERAS_RUNS if count > step else 1, step):
        chunk = np.arange(start, start + step) % count
        outputs = signature.call(model, {name: array[chunk] for name, array in samples.items()})
        parts.append({name: keras.ops.convert_to_numpy(value).astype(np.float32) for name, value in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def same_thing(snr: float, mode: str) -> None:
    """Refuses a quantized file whose outputs have nothing to do with those of the float file.

    Args:
        snr: Of its outputs against the float file's, in decibels.
        mode: Its mode, for the error.

    Raises:
        ConversionError: The error is as strong as the outputs; a file that gives nothing but 0 is at 0 dB.
    """
    if snr <= LEAST_SNR_DB:
        raise ConversionError(
            f"the {mode} file gives something else than the float one: its error is as strong as its outputs "
            f"(SNR {snr:.1f} dB). Take calibration samples that are preprocessed as for the model, or another mode."
        )


def runs_on(looked: Audit, target: Target) -> None:
    """Refuses a file with ops that its target does not have.

    Raises:
        ConversionError: Ops of TensorFlow, or ops in float on a target that computes in integers alone.
    """
    if looked.flex:
        raise ConversionError(f"the file needs TensorFlow itself for {looked.flex[0]}, which no edge runtime has.")
    if target.integers and looked.floating:
        raise ConversionError(
            f"target {target.name} computes in integers alone, and {len(looked.floating)} ops would stay in float: "
            f"{', '.join(looked.floating[:3])}. Write the layer with others, or take target litert."
        )


def on_microcontrollers(content: bytes, samples: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Runs a file on LiteRT for Microcontrollers against LiteRT itself.

    Returns:
        `arena_bytes`, what the tensors need there, and `tflm_max_error`, the largest difference.

    Raises:
        InputError: That runtime is not installed.
        ConversionError: It does not run the file, or gives something else.
    """
    expected, run = Runner(content)(samples), microcontrollers.run(content, samples)
    check_finite(run.outputs)
    differences = compare_outputs(expected, run.outputs)
    if differences["snr_db"] < MICRO_SNR_DB:
        raise ConversionError(
            "TFLM gives something else than LiteRT for the file: they differ by "
            f"{differences['max_error']:.3g} (SNR {differences['snr_db']:.1f} dB). Take another mode or other layers."
        )
    return {"arena_bytes": float(run.arena_bytes), "tflm_max_error": differences["max_error"]}


def slimmed(content: bytes, samples: Mapping[str, np.ndarray]) -> bytes:
    """The file without its names, run against itself with them.

    Raises:
        ConversionError: Some output bit is not the same.
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

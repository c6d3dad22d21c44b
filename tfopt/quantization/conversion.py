"""A Keras model to the bytes of a `.tflite` in one of four modes, run on LiteRT before it is handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from tfopt import models
from tfopt.artifact import Skipped
from tfopt.errors import ConversionError, InputError
from tfopt.evaluate import compare
from tfopt.knobs import did_you_mean
from tfopt.quantization.engine import quantize
from tfopt.quantization.float_model import to_float
from tfopt.tflite import Runner, read

MODES = ("float32", "float16", "dynamic", "int8")
IoType = Literal["int8", "float32"]
CHECKED_SAMPLES = 8
# Far above the rounding of one framework against the other, far below what an uninitialised file gives.
FLOAT_TOLERANCE = 1e-3
# Outputs that carry less signal than error are no result of a quantization, but of a mistake.
LEAST_SNR_DB = 0.0


@dataclass(frozen=True)
class Conversion:
    """A finished file.

    Args:
        content: The bytes of the `.tflite`.
        skipped: Ops that stayed in floating point although the mode quantizes, with the reason.
    """

    content: bytes
    skipped: tuple[Skipped, ...]


def convert(model: keras.Model, mode: str = "int8", calibration: Any = None, io: IoType = "int8") -> bytes:
    """The `.tflite` of a Keras 3 model, run on LiteRT before it is handed over; see `convert_with_notes`.

    Example:
        ```python
        Path("model.tflite").write_bytes(tfopt.convert(model, "int8", calibration=x_train[:200]))
        ```
    """
    return convert_with_notes(model, mode, calibration, io).content


def convert_with_notes(
    model: keras.Model, mode: str = "int8", calibration: Any = None, io: IoType = "int8"
) -> Conversion:
    """Converts a Keras 3 model and runs the file on LiteRT against it.

    Args:
        model: A built Keras 3 model of any kind.
        mode: `float32`, `float16`, `dynamic` or `int8`.
        calibration: Representative inputs, `(samples, ...)` or a dict or list of such arrays, preprocessed as for the
            model. `int8` needs them (100 to 200 are plenty); the other modes use them for the check alone.
        io: For `int8`: the type of the file's inputs and outputs. Integer inputs (token ids) stay as they are.

    Returns:
        The file and what could not be quantized.

    Raises:
        InputError: An unknown mode, or `int8` without calibration samples.
        ConversionError: The model cannot be converted, or LiteRT cannot run it or gives something else than Keras.

    References:
        Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
        arXiv:1712.05877; the TFLite 8-bit specification, ai.google.dev/edge/litert/models/quantization_spec.
    """
    if not isinstance(model, keras.Model):
        raise InputError(
            f"a Keras 3 model is converted; load a file with keras.models.load_model. Received: {model!r:.80}."
        )
    if mode not in MODES:
        raise InputError(f"there is no mode {mode!r}. {did_you_mean(mode, MODES)}", ("mode",))
    if io not in ("int8", "float32"):
        raise InputError(f"the inputs and outputs are int8 or float32. Received: io={io!r}.", ("io",))
    model = models.in_float32(model)
    calibration = None if calibration is None or _count(calibration) == 0 else calibration
    if mode == "int8" and calibration is None:
        raise InputError("int8 needs representative inputs: hand over calibration samples.", ("mode",))
    float_content = to_float(model, calibration)
    samples = _samples(model, float_content, calibration)
    _check_float(model, float_content, samples)
    if mode == "float32":
        return Conversion(float_content, ())
    content = quantize(float_content, mode, samples, io)
    few = {name: array[:CHECKED_SAMPLES] for name, array in samples.items()}
    _check_quantized(mode, Runner(float_content)(few), Runner(content)(few))
    return Conversion(content, _left_in_float(content, mode))


def check_finite(outputs: Mapping[str, np.ndarray]) -> None:
    """Refuses a file that computes NaN or infinity.

    Raises:
        ConversionError: Some output value is not finite.
    """
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ConversionError(f"the file computes values that are not finite on LiteRT, in output {name!r}.")


def _check_quantized(mode: str, expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> None:
    """Refuses a file whose outputs have nothing to do with those of the float file."""
    check_finite(got)
    ratio = compare(expected, got)["snr_db"]
    if ratio < LEAST_SNR_DB:
        raise ConversionError(
            f"the {mode} file gives something else than the float one: its error is as strong as its outputs "
            f"(SNR {ratio:.1f} dB). Take calibration samples that are preprocessed as for the model, or another mode."
        )


def _count(samples: Any) -> int:
    """How many samples there are.

    Raises:
        InputError: The inputs have different numbers of them.
    """
    parts = list(samples.values()) if isinstance(samples, Mapping) else samples
    parts = list(parts) if isinstance(parts, list | tuple) else [parts]
    counts = {len(part) for part in parts}
    if len(counts) > 1:
        raise InputError(f"every input needs the same number of samples. Received: {', '.join(map(str, counts))}.")
    return counts.pop() if counts else 0


def _samples(model: keras.Model, content: bytes, calibration: Any) -> dict[str, np.ndarray]:
    """The calibration samples by the file's input names and in its dtypes; random ones where there are none."""
    runner = Runner(content)
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []] or list(runner.inputs)
    if calibration is None:
        generator = np.random.default_rng(0)
        shapes = {name: (2, *(int(n) for n in d["shape"][1:])) for name, d in runner.inputs.items()}
        return {
            name: generator.uniform(0, 1, shapes[name]).astype(detail["dtype"])
            for name, detail in runner.inputs.items()
        }
    if isinstance(calibration, Mapping):
        arrays = dict(calibration)
    else:
        parts = list(calibration) if isinstance(calibration, list | tuple) else [calibration]
        if len(parts) != len(names):
            raise InputError(f"the model has the inputs {', '.join(names)}, and there are samples for {len(parts)}.")
        arrays = dict(zip(names, parts, strict=True))
    if missing := [name for name in runner.inputs if name not in arrays]:
        raise InputError(f"the model has an input {missing[0]!r}, and the samples have only {', '.join(arrays)}.")
    return {name: _fit(np.asarray(arrays[name]), detail, name) for name, detail in runner.inputs.items()}


def _fit(array: np.ndarray, detail: Mapping[str, Any], name: str) -> np.ndarray:
    want = tuple(int(n) for n in detail["shape_signature"][1:])
    if array.ndim == len(want) and want and want[-1] == 1:
        array = array[..., None]
    if array.ndim - 1 != len(want) or any(w not in (-1, have) for w, have in zip(want, array.shape[1:], strict=True)):
        raise InputError(
            f"input {name!r} takes samples of shape {want}, and the calibration samples have {array.shape[1:]}."
        )
    return array.astype(detail["dtype"], copy=False)


def _check_float(model: keras.Model, content: bytes, samples: Mapping[str, np.ndarray]) -> None:
    few = {name: array[:CHECKED_SAMPLES] for name, array in samples.items()}
    got = Runner(content)(few)
    check_finite(got)
    for name, value in models.call(model, few).items():
        theirs, mine = keras.ops.convert_to_numpy(value).astype(np.float32), got[name]
        if not np.isfinite(theirs).all():
            raise ConversionError(f"the Keras model itself computes values that are not finite, in output {name!r}.")
        error, scale = np.abs(theirs - mine).max(), max(np.abs(theirs).max(), 1e-6)
        if error > FLOAT_TOLERANCE * scale:
            raise ConversionError(
                f"the float file gives something else than Keras in output {name!r}: they differ by {error:.3g} "
                f"where the values reach {scale:.3g}. A layer with randomness in inference would do that."
            )


def _left_in_float(content: bytes, mode: str) -> tuple[Skipped, ...]:
    summary = read(content)
    if mode == "int8":
        left = [op for op in summary.ops if op.floating]
        reason = "the quantizer has no int8 form of it, so it computes in float"
    else:
        stored = "FLOAT32"
        left = [op for op in summary.ops if any(t.dtype == stored and len(t.shape) > 1 for t in op.weights)]
        reason = f"the quantizer has no {mode} form of it, so its weights stay in float32"
    if left and not any(t.parameter and len(t.shape) > 1 and t.dtype != "FLOAT32" for t in summary.tensors):
        raise ConversionError(
            f"nothing could be quantized to {mode}: the file would be the float one. Ops: {left[0].name}."
        )
    return tuple(Skipped(f"{op.name} {op.outputs[0].name}".strip(), reason) for op in left)

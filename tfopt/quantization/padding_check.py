"""The check of a recurrent layer's form where a mask leaves steps out, on padding that the samples need not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from tfopt.errors import ConversionError
from tfopt.models.layers import LayerRef
from tfopt.quantization import validation
from tfopt.tflite.interpreter import Runner


def check_padded(
    model: keras.Model, places: Iterable[LayerRef], samples: Mapping[str, np.ndarray], content: bytes
) -> None:
    """Refuses a float file that gives something else than Keras where a mask leaves out steps.

    Nothing is refused of a model without masks or without recurrent layers, or that takes no padding.

    Args:
        model: The model as it was handed in.
        places: Its layers.
        samples: Inputs `(samples, steps, ...)` by input name; steps of a few are left out before, after and within.
        content: Bytes of the file.

    Raises:
        ConversionError: The outputs differ.
    """
    value = _padding(places)
    if value is None:
        return
    rows = _padded(samples, value)
    try:
        theirs = validation.by_keras(model, rows)
        if not all(np.isfinite(value).all() for value in theirs.values()):
            return
    except ConversionError:  # a model need not take steps that nobody gave
        return
    try:
        validation.check_against_keras(model, rows, Runner(content)(rows), theirs)
    except ConversionError as error:
        told = str(error).split(" A layer with randomness")[0]
        raise ConversionError(f"where a mask leaves steps out, {told}") from error


def without_padding(places: Iterable[LayerRef], samples: Mapping[str, np.ndarray]) -> bool:
    """Whether a model takes padding and no sample `(samples, steps, ...)` has any, so that ranges know of none."""
    value = _padding(places)
    steps = (array.reshape(*array.shape[:2], -1) for array in samples.values() if array.ndim > 1)
    return value is not None and not any((each == value).all(axis=-1).any() for each in steps)


def _padding(places: Iterable[LayerRef]) -> float | None:
    """The value of steps that a mask leaves out of recurrent layers; None for a model without."""
    layers = [place.layer for place in places]
    if not any(isinstance(layer, keras.layers.RNN) for layer in layers):
        return None
    values = [float(layer.mask_value) for layer in layers if isinstance(layer, keras.layers.Masking)]
    values += [0.0 for layer in layers if getattr(layer, "mask_zero", False)]
    return values[0] if values else None


def _padded(samples: Mapping[str, np.ndarray], value: float) -> dict[str, np.ndarray]:
    """Three samples with steps at a value: the first half of them, the last one, and every second step."""
    found = {}
    for name, array in samples.items():
        rows = array[np.arange(3) % len(array)].copy()
        if rows.ndim > 1:
            half = rows.shape[1] // 2
            rows[0, :half] = rows[1, rows.shape[1] - half :] = rows[2, 1::2] = value
        found[name] = rows
    return found

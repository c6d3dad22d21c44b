"""From a Keras model to a `.tflite`: one float conversion, and every quantized file made from it."""

from __future__ import annotations

from typing import Any

import keras

from tfopt.precision import Export
from tfopt.quantization.aware.awareness import Awareness
from tfopt.quantization.conversion import Conversion, convert, convert_with_notes

__all__ = ["Awareness", "Conversion", "convert", "convert_with_notes", "quantize_aware"]


def quantize_aware(model: keras.Model, mode: str = "int8", calibration: Any = None, **settings: Any) -> Awareness:
    """Lets a model compute as its integer `.tflite` will: in `fit`, `evaluate`, `predict` and when it is called.

    The model keeps its layers, classes and variables, and is saved as the ordinary model that it is.

    Example:
        ```python
        aware = tfopt.quantization.quantize_aware(model, "int8", calibration=x[:200])
        model.fit(x, y, epochs=3)
        Path("model.tflite").write_bytes(aware.convert().content)
        aware.strip()                                   # the model computes in floating point again
        ```

    Args:
        model: A built Keras 3 model.
        mode: `int8`, `int4` or `int16x8`.
        calibration: Representative inputs, as `convert` takes them.
        **settings: `ranges`, `momentum` and `rate` of `Awareness`, and any other field of `tfopt.Export`.

    Returns:
        What is attached to the model.

    Raises:
        InputError: Settings that do not go together, no calibration samples.
        ModelError: The model is not built.
        ConversionError: The model cannot be converted.
    """
    own = {name: settings.pop(name) for name in ("ranges", "momentum", "rate") if name in settings}
    aware = Awareness(model, Export(**{"mode": mode, **settings}), calibration, **own)
    aware.attach()
    return aware

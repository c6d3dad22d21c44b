"""Quantization-aware training of a model that its user trains."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from tfopt.errors import TfoptWarning
from tfopt.models.left_alone import warn_of
from tfopt.quantization.aware.session import QATSession
from tfopt.recipe.export import Export


def quantize_aware(model: keras.Model, mode: str = "int8", calibration: Any = None, **settings: Any) -> QATSession:
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
        **settings: `ranges`, `momentum` and `rate` of `QATSession`, and any other field of `tfopt.Export`. With
            `rounding`, `bias_correction` or `clipping` the model starts with the integers that a conversion has then.

    Returns:
        The session, attached to the model.

    Warns:
        TfoptWarning: The samples seem to be scaled in another way than what the model was trained on, to be of one
            class, or to be near-copies of few; layers with a kernel stay in float.

    Raises:
        InputError: Settings that do not go together, no calibration samples.
        ModelError: The model is not built.
        ConversionError: The model cannot be converted.
    """
    own = {name: settings.pop(name) for name in ("ranges", "momentum", "rate") if name in settings}
    aware = QATSession(model, Export(**{"mode": mode, **settings}), calibration, **own)
    for sentence in aware.warnings:
        warnings.warn(sentence, TfoptWarning, stacklevel=2)
    warn_of("quantize_aware", aware.left_alone)
    aware.attach()
    return aware

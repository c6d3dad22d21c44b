"""Keras on TensorFlow, the one backend that makes a `.tflite`."""

from __future__ import annotations

import os
from typing import Any

from tfopt.errors import ModelError


def keras_on_tensorflow() -> Any:
    """The `keras` module on TensorFlow, the one backend that makes a `.tflite`.

    Raises:
        ModelError: Keras is set to another backend.
    """
    try:
        import keras

        backend = keras.config.backend()
    except ImportError:  # Keras does not import without the package of its backend
        backend = os.environ.get("KERAS_BACKEND", "unknown")
    if backend != "tensorflow":
        raise ModelError(
            "tfopt runs on Keras's TensorFlow backend: set KERAS_BACKEND=tensorflow. A .keras file that was saved on "
            f"another backend loads there. Received: {backend!r}.",
            ("model",),
        )
    return keras

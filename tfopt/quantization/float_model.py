"""The one float conversion: Keras to TFLite by a concrete function of batch 1.

This route is faster than `TFLiteConverter.from_keras_model`, converts recurrent layers that it refuses, and leaves out
the ops that serve a changing batch. It is called without `trackable_obj`, against the converter's own advice: with a
Keras 3 model that argument gives a file whose variables are never initialised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt import models
from tfopt.errors import ConversionError, ModelError
from tfopt.noise import captured
from tfopt.tflite import with_signature


def to_float(model: keras.Model, sample: Any = None) -> bytes:
    """A float32 `.tflite` of a Keras model, with a signature of its input and output names.

    Args:
        model: A built Keras 3 model.
        sample: One or more samples, `(samples, ...)` or a dict of such arrays by input name; needed for a subclassed
            model, which does not know its input shapes.

    Raises:
        ModelError: The model does not know its inputs and no sample says them.
        ConversionError: The converter refuses it, with the converter's reason.
    """
    specs = _inputs(model, sample)
    names = [spec.name for spec in specs]
    outputs: list[str] = []

    @tf.autograph.experimental.do_not_convert
    def function(*tensors: Any) -> Any:
        named = models.call(model, dict(zip(names, tensors, strict=True)))
        outputs[:] = named
        return list(named.values())

    try:
        with captured() as noise:
            concrete = tf.function(function).get_concrete_function(*specs)
            content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    except Exception as error:
        raise ConversionError(f"the converter refuses the model: {_reason(error, noise.text())}") from error
    return with_signature(content, names, outputs)


def _inputs(model: keras.Model, sample: Any) -> list[tf.TensorSpec]:
    """The model's inputs with a batch of 1, by name."""
    if tensors := getattr(model, "inputs", None):
        return [tf.TensorSpec((1, *t.shape[1:]), t.dtype, name=t.name) for t in tensors]
    if sample is None:
        raise ModelError(
            "a subclassed model does not know its input shape: hand over calibration samples, which show it."
        )
    if isinstance(sample, list | tuple):
        raise ModelError(
            "a subclassed model of several inputs needs samples as a dict, by the names that its call() takes."
        )
    arrays = sample if isinstance(sample, Mapping) else {"input": sample}
    specs = []
    for name, array in arrays.items():
        array = np.asarray(array)
        dtype = tf.float32 if array.dtype.kind == "f" else array.dtype
        specs.append(tf.TensorSpec((1, *array.shape[1:]), dtype, name=name))
    return specs


def _reason(error: Exception, noise: str) -> str:
    """The line that says what is wrong, out of the converter's pages."""
    lines = [line.strip() for line in f"{error}\n{noise}".splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "is neither a custom op nor a flex op" in line]
    own = str(error).strip().splitlines() or [type(error).__name__]
    text = telling[0] if telling else own[-1 if own[0] == "in user code:" else 0].strip()
    return text.split("error: ")[-1][:300]

"""The last activation of a model, or of one of its outputs."""

from __future__ import annotations

from typing import Any

import keras

from tfopt.keras_private import history_of


def last_activation(model: Any, output: int = 0) -> str:
    """The last activation: `softmax`, `sigmoid`, `linear` for a kernel without one; empty if it is not known.

    Args:
        model: A Keras model, or a function in its place, of which nothing is known.
        output: Number of the output, in the order in which the model gives them.
    """
    layer, index = model, output
    while isinstance(layer, keras.Model | keras.layers.Wrapper):
        if isinstance(layer, keras.layers.Wrapper):
            layer = layer.layer
            continue
        outputs = keras.tree.flatten(getattr(layer, "outputs", None) or [])
        if not outputs:  # a subclassed model
            return ""
        history = history_of(outputs[index])
        layer, index = history.operation, history.tensor_index
    does = getattr(layer, "activation", layer)
    name = getattr(does, "__name__", type(does).__name__).lower()
    return name if name in ("softmax", "sigmoid") or (name == "linear" and hasattr(layer, "kernel")) else ""

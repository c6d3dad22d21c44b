"""Replacing the last layer of a finished model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import keras

from tfopt.errors import ModelError
from tfopt.keras_private import compiled_settings, history_of
from tfopt.models import signature

# Layers between a model's last kernel and its output that belong to its head.
_HEAD_ENDS = ("Activation", "Softmax", "ReLU", "Dropout")


def replace_head(
    model: keras.Model, units: int, activation: str | None = "softmax", dropout: float = 0.0, at: str | None = None
) -> keras.Model:
    """The model with another last layer, of random weights; all others are the model's own, not copies.

    A model that ends in feature maps gets an average over their positions first.

    Args:
        model: A Sequential or functional model of one output.
        units: Outputs of the new layer.
        activation: Activation of the new layer; None for none.
        dropout: Fraction of the new layer's inputs that training drops, 0-1.
        at: Name of the layer whose output the head gets; if not given, what the last Dense layer gets now, or where the
            model does not end in one, its output.

    Returns:
        A functional model of the same name, compiled as the model was.

    Raises:
        ModelError: The model is subclassed, has several outputs, or has no layer `at`.
    """
    if not isinstance(model, keras.Sequential | keras.Function):
        raise ModelError(f"a head is replaced in a Sequential or functional model, not in {type(model).__name__}.")
    if len(model.outputs) != 1:
        names = ", ".join(signature.output_names(model))
        raise ModelError(f"a head is replaced in a model of one output, and this one has {names}.")
    if at is None:
        features = _features(model.outputs[0])
    else:
        there = [layer.name for layer in model.layers]
        if at not in there:
            raise ModelError(f"the model has no layer {at!r}. Layers: {', '.join(there)}.", ("at",))
        features = model.get_layer(at).output
    if len(features.shape) > 2:
        pooling = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D}
        pool = pooling.get(len(features.shape), keras.layers.Flatten)
        features = pool(name=_free("head_pool", model))(features)
    if dropout:
        features = keras.layers.Dropout(dropout, name=_free("head_dropout", model))(features)
    name = _free("head", model)
    output = keras.layers.Dense(units, activation=activation, name=name)(features)
    new = keras.Model(model.inputs if len(model.inputs) > 1 else model.inputs[0], output, name=model.name)
    if settings := compiled_settings(model):
        for key, value in settings.items():  # what is given by the name of the old output
            if isinstance(value, Mapping) and key in ("loss", "metrics", "weighted_metrics", "loss_weights"):
                settings[key] = {name: next(iter(value.values()))}
        new.compile(**settings)
    return new


def _free(name: str, model: keras.Model) -> str:
    """A name that no layer of the model has."""
    taken = {layer.name for layer in model.layers}
    return next(
        free for free in itertools.chain([name], (f"{name}_{n}" for n in itertools.count(2))) if free not in taken
    )


def _features(tensor: Any) -> Any:
    """The input of the last Dense layer before a model's output, dropout left out; the output itself without one."""
    found = tensor
    while True:
        layer = history_of(found).operation
        if isinstance(layer, keras.layers.Dense):
            before = layer.input
            while type(history_of(before).operation).__name__ == "Dropout":
                before = history_of(before).operation.input
            return before
        if type(layer).__name__ not in _HEAD_ENDS or isinstance(layer.input, list | dict):
            return tensor
        found = layer.input

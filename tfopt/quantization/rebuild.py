"""The same model built in another way, where the converter cannot take it as it is."""

from __future__ import annotations

from typing import Any

import keras

from tfopt.errors import ModelError
from tfopt.layers import walk

# Longer loops make graphs that take the converter minutes.
LONGEST = 128


def in_float32(model: keras.Model) -> keras.Model:
    """The model itself, or a copy in float32 of one in mixed precision, which the converter cannot take.

    Raises:
        ModelError: It is in mixed precision and not made of layers alone.
    """
    layers = [place.layer for place in walk(model)]
    if all(layer.compute_dtype not in ("float16", "bfloat16") for layer in layers):
        return model
    return _rebuilt(model, {"dtype": "float32"})


def unrolled(model: keras.Model) -> keras.Model | None:
    """A copy whose recurrent layers have a step of their own for each time step.

    Returns:
        None where that cannot be: the model is subclassed, the length is not fixed, or it is above `LONGEST`.
    """
    steps = [_steps(place.layer) for place in walk(model) if _loops(place.layer)]
    if any(count is None or count > LONGEST for count in steps):
        return None
    try:
        return _rebuilt(model, {"unroll": True})
    except ModelError:
        return None


def _loops(layer: Any) -> bool:
    return isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional)


def _steps(layer: Any) -> int | None:
    try:
        shape = layer.input.shape
    except (AttributeError, ValueError):  # inside a wrapper, which is asked itself, or called more than once
        return 0 if not getattr(layer, "_inbound_nodes", None) else None
    return shape[1]


def _rebuilt(model: keras.Model, settings: dict[str, Any]) -> keras.Model:
    """A copy with the same weights whose layers have these settings, where they know them."""

    def changed(config: dict[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in settings.items() if name in config}
        inner = {k: {**v, "config": changed(v["config"])} for k, v in config.items() if _is_layer(v)}
        return {**config, **inner, **own}

    def rebuilt(layer: Any) -> Any:
        return type(layer).from_config(changed(layer.get_config()))

    try:
        copy = keras.models.clone_model(model, clone_function=rebuilt, recursive=True)
        copy.set_weights(model.get_weights())
        for mine, theirs in zip(copy.inputs, model.inputs, strict=True):
            mine.name = theirs.name  # the names of the file's inputs
    except (ValueError, TypeError, NotImplementedError) as error:
        what = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise ModelError(
            f"the model cannot be converted as it is, and not be built again with {what}: "
            f"{str(error).strip().splitlines()[0]} Build it so yourself and copy the weights with set_weights."
        ) from error
    return copy


def _is_layer(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("config"), dict) and "class_name" in value

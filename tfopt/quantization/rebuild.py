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
    return _rebuilt(model, {"dtype": "float32"}) if in_half(model) else model


def in_half(model: keras.Model) -> bool:
    """Whether some layer computes in 16 bits."""
    return any(place.layer.compute_dtype in ("float16", "bfloat16") for place in walk(model))


def unrolled(model: keras.Model) -> keras.Model:
    """A copy whose recurrent layers have a step of their own for each time step.

    Raises:
        ModelError: That cannot be: the model is subclassed, a length is not fixed, or it is above `LONGEST`.
    """
    for place in walk(model):
        if isinstance(place.layer, keras.layers.RNN | keras.layers.Bidirectional):
            steps = _steps(place.layer)
            if steps is None or steps > LONGEST:
                what = "no fixed length" if steps is None else f"{steps} steps, more than {LONGEST}"
                raise ModelError(f"{place.path} has {what}")
    return _rebuilt(model, {"unroll": True})


def _steps(layer: Any) -> int | None:
    """The length of what a recurrent layer is called on; 0 inside a wrapper, which is asked itself."""
    lengths = {
        tensor.shape[1]
        for node in getattr(layer, "_inbound_nodes", ())
        for tensor in node.arguments.keras_tensors[:1]  # what follows are a mask and first states
    }
    return None if None in lengths else max(lengths, default=0)


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
        for place in walk(copy):
            if hasattr(place.layer, "finalize_state"):  # Normalization computes with values it makes of its weights
                place.layer.finalize_state()
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

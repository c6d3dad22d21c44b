"""Copies of a model in another precision, with its recurrent layers unrolled, or on other devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from tfopt.errors import ModelError
from tfopt.keras_private import calls_of, history_of
from tfopt.models.layers import walk
from tfopt.models.unrolled_masks import mend
from tfopt.user_code import describe

# Most time steps to unroll; longer loops make graphs that take the converter minutes.
LONGEST = 128


def in_float32(model: keras.Model) -> keras.Model:
    """The model itself, or a copy in float32 of one in mixed precision, which the converter cannot take.

    Raises:
        ModelError: The model is in mixed precision and cannot be built again from its layers.
    """
    return _rebuilt(model, lambda layer: {"dtype": "float32"}, "dtype='float32'") if in_half(model) else model


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """A copy of a model that computes in another precision; variables are made in the scope that it is called in.

    Layers in another precision than float32 keep it, and those that give the outputs stay in float32, as Keras advises
    for mixed precision.

    Args:
        model: A built model.
        policy: `float32`, which changes nothing, `mixed_float16` or `mixed_bfloat16`.

    Raises:
        ModelError: The model cannot be built again from its config, or is subclassed and `policy` is not `float32`.
    """
    if not isinstance(model, keras.Sequential | keras.Function):
        return _subclassed(model, policy)
    last = {id(layer) for layer in _last(model)}

    def settings(layer: Any) -> dict[str, Any]:
        own = layer.dtype_policy.name if hasattr(layer, "dtype_policy") else None
        return {"dtype": policy} if own == "float32" and id(layer) not in last else {}

    return _rebuilt(model, settings if policy != "float32" else lambda layer: {}, f"dtype={policy!r}")


def _last(model: keras.Model) -> Iterator[Any]:
    """The layers that give a model's outputs, those of a nested model at its end included."""
    for tensor in model.outputs:
        layer = history_of(tensor).operation
        yield layer
        if isinstance(layer, keras.Sequential | keras.Function):
            yield from _last(layer)


def _subclassed(model: keras.Model, policy: str) -> keras.Model:
    name = type(model).__name__
    if policy != "float32":
        raise ModelError(
            f"{name} is a subclassed model: build it under keras.config.set_dtype_policy({policy!r}) yourself.",
            ("runtime", "precision"),
        )
    try:
        copy = type(model).from_config(model.get_config())
        copy.build_from_config(model.get_build_config())
        copy.set_weights(model.get_weights())
    except Exception as error:  # a user's own code
        raise ModelError(f"{name} cannot be built again for other devices: {describe(error)}", ("runtime",)) from error
    return copy


def in_half(model: keras.Model) -> bool:
    """Whether some layer computes in 16 bits."""
    return any(place.layer.compute_dtype in ("float16", "bfloat16") for place in walk(model))


def unrolled(model: keras.Model, but: Callable[[Any], bool] = lambda layer: False) -> keras.Model:
    """A copy whose recurrent layers are unrolled over their time steps.

    Args:
        model: The model.
        but: Whether a recurrent layer may be of any length, as its unrolled form is not used.

    Raises:
        ModelError: The model is subclassed, or the length of a sequence is not fixed or above `LONGEST`.
    """
    for place in walk(model):
        if isinstance(place.layer, keras.layers.RNN | keras.layers.Bidirectional):
            if but(getattr(place.layer, "forward_layer", place.layer)):
                continue
            steps = _steps(place.layer)
            if steps is None or steps > LONGEST:
                what = "no fixed length" if steps is None else f"{steps} steps, more than {LONGEST}"
                raise ModelError(f"{place.path} has {what}")
    copy = _rebuilt(model, lambda layer: {"unroll": True}, "unroll=True")
    asked = {place.path for place in walk(model) if getattr(place.layer, "unroll", False)}  # they are so in Keras
    for place in walk(copy):
        if isinstance(place.layer, keras.layers.RNN) and place.path not in asked:
            mend(place.layer)
    return copy


def _steps(layer: Any) -> int | None:
    """Time steps of a recurrent layer's input; None if not fixed, 0 inside a wrapper, which is asked itself."""
    lengths = {
        tensor.shape[1]
        for node in calls_of(layer)
        for tensor in node.arguments.keras_tensors[:1]  # what follows are a mask and first states
    }
    return None if None in lengths else max(lengths, default=0)


def _rebuilt(model: keras.Model, settings: Callable[[Any], dict[str, Any]], what: str) -> keras.Model:
    """A copy with the same weights and other settings of its layers, where a layer has such settings.

    Args:
        model: The model.
        settings: Maps a layer to its new settings.
        what: The settings in words, for the error message.
    """

    def changed(config: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in new.items() if name in config}
        inner = {k: {**v, "config": changed(v["config"], new)} for k, v in config.items() if _is_layer(v)}
        return {**config, **inner, **own}

    def rebuilt(layer: Any) -> Any:
        return type(layer).from_config(changed(layer.get_config(), settings(layer)))

    try:
        copy = keras.models.clone_model(model, clone_function=rebuilt, recursive=True)
        copy.set_weights(model.get_weights())
        for place in walk(copy):
            if hasattr(place.layer, "finalize_state"):  # Normalization computes with values it makes of its weights
                place.layer.finalize_state()
        for mine, theirs in zip(copy.inputs, model.inputs, strict=True):
            mine.name = theirs.name  # the names of the file's inputs
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"the model cannot be used as it is, and not be built again with {what}: "
            f"{str(error).strip().splitlines()[0]} Build it so yourself and copy the weights with set_weights."
        ) from error
    return copy


def _is_layer(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("config"), dict) and "class_name" in value

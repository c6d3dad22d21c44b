"""What a model must have before it is worked on: weights, a call of its own, layers that Keras has not quantized."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from tfopt.errors import ModelError
from tfopt.models.layers import ON_REQUEST, PRUNABLE, LayerRef, walk

WITH_KERNEL = {*PRUNABLE, *ON_REQUEST}


def has_weights(model: keras.Model) -> bool:
    """Whether a model has its weights.

    `Model.built` alone does not tell: Keras never sets it on a model that has no call of its own and trains its inner
    models in its `train_step`, as a GAN does.
    """
    return bool(model.built or (model.weights and not _unbuilt(model)))


def _unbuilt(model: keras.Model) -> list[LayerRef]:
    """The layers of classes with a kernel that have none yet."""
    return [
        place
        for place in walk(model)
        if not place.layer.built and any(cls.__name__ in WITH_KERNEL for cls in type(place.layer).__mro__)
    ]


def check_weights(model: keras.Model, consequence: str) -> None:
    """Refuses a model that has no weights yet, or of which a part has none.

    Args:
        model: The model.
        consequence: What follows from it and the way out, for the error.

    Raises:
        ModelError: There are no weights.
    """
    if has_weights(model):
        return
    part = _unbuilt(model)[:1] if model.weights else []
    who = f"{part[0].path} ({type(part[0].layer).__name__})" if part else "the model"
    raise ModelError(f"{who} has no weights yet{consequence}")


def has_call(model: keras.Model) -> bool:
    """Whether a model computes outputs: a subclass may have a `train_step` alone."""
    return type(model).call is not keras.Model.call


def check_call(model: keras.Model) -> None:
    """Refuses a model that has no call of its own, of which there are no outputs to convert, score or quantize.

    Raises:
        ModelError: There is no `call`.
    """
    if has_call(model):
        return
    inner = [place.path for place in walk(model) if isinstance(place.layer, keras.Model) and not place.above]
    parts = f" ({', '.join(inner)})" if inner else ""
    raise ModelError(
        f"{type(model).__name__} has no call() of its own, so it has no outputs. Write one, or give one of the models "
        f"in it{parts}.",
        ("model",),
    )


def quantized_by_keras(layer: Any) -> bool:
    """Whether Keras has quantized a layer, by `quantize` or by the layer's dtype."""
    return getattr(layer, "quantization_mode", None) is not None


def check_not_quantized(places: Iterable[LayerRef]) -> None:
    """Refuses layers that Keras has quantized: their weights are packed integers, or wrapped in casts to float8.

    Raises:
        ModelError: A layer is quantized.
    """
    for place in places:
        if quantized_by_keras(place.layer):
            raise ModelError(
                f"Keras has quantized {place.path} ({type(place.layer).__name__}) to {place.layer.quantization_mode} "
                "already. Give the model as it was before quantize()."
            )

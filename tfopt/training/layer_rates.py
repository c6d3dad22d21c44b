"""Fine-tuning of a finished model: frozen layers, and learning rates by layer.

References:
    Yosinski et al., How transferable are features in deep neural networks?, arXiv:1411.1792 (freezing).
    Howard and Ruder, Universal language model fine-tuning, arXiv:1801.06146 (discriminative learning rates).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from tfopt.errors import ModelError
from tfopt.keras_private import optimized_variables, variable_index
from tfopt.models.layers import LayerRef, matching, operations, walk


@contextlib.contextmanager
def frozen(model: keras.Model, patterns: Sequence[str]) -> Iterator[None]:
    """Freezes the layers that a pattern matches for the length of the block; compile the model inside it.

    The statistics of a frozen BatchNormalization stay as they are too, as Keras has it.

    Args:
        model: The model.
        patterns: Layer patterns.

    Raises:
        ModelError: A pattern matches no layer, or nothing is left to train.
    """
    places = list(walk(model))
    before = [(place.layer, place.layer.trainable) for place in places]
    chosen = _matched(places, patterns, "freeze", list(operations(model)))
    try:
        for place in chosen:
            place.layer.trainable = False
        if patterns and not model.trainable_variables:
            raise ModelError("every layer with weights is frozen: nothing is left to train.", ("freeze",))
        yield
    finally:
        for layer, trainable in before if patterns else ():
            layer.trainable = trainable


def _matched(
    places: Sequence[LayerRef], patterns: Sequence[str], setting: str, between: Sequence[LayerRef]
) -> list[LayerRef]:
    return [place for pattern in patterns for place in matching(places, pattern, setting, between)]


@contextlib.contextmanager
def rated(model: keras.Model, rates: Mapping[str, float]) -> Iterator[None]:
    """Multiplies the learning rate of a compiled model's optimizer, layer by layer, in the block.

    It is the step that is multiplied, not the gradient, which Adam and its like would divide out again. An optimizer's
    own `weight_decay` keeps the full rate.

    Args:
        model: A compiled model.
        rates: Factors by layer pattern; a later pattern wins, and layers that none matches keep the rate.

    Raises:
        ModelError: A pattern matches no layer.
    """
    if not rates:
        yield
        return
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizer = getattr(optimizer, "optimizer", optimizer)  # SAM's, which makes the step
    factors = factors_of(model, rates)
    by_index: list[float] = []
    own = optimizer.update_step

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> Any:
        if not by_index:
            by_index.extend(factors.get(id(v), 1.0) for v in optimized_variables(optimizer))
        return own(gradient, variable, learning_rate * by_index[variable_index(optimizer, variable)])

    optimizer.update_step = update_step
    try:
        yield
    finally:
        del optimizer.update_step


def factors_of(model: keras.Model, rates: Mapping[str, float]) -> dict[int, float]:
    """The factor of the learning rate of every weight that a pattern matches, by the variable's `id`."""
    places, between = list(walk(model)), list(operations(model))
    found: dict[int, float] = {}
    for pattern, factor in rates.items():
        for place in matching(places, pattern, "rates", between):
            found.update({id(variable): factor for variable in place.layer.trainable_variables})
    return found

"""Random inputs of a Keras 2 model, of sizes that it runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfopt.errors import ModelError
from tfopt.models.keras2.layer_config import mapped
from tfopt.user_code import describe

# Sizes of open dimensions: a convolution without padding needs some, and what is cropped behind it more.
SIZES = (16, 64, 224, 1024, 4096, 16384, 65536)
# Above this size a single sample of at most so many numbers.
USUAL, MOST_NUMBERS = 224, 2**22
SCALES = (1, 1, 100)


def random_inputs(model: Any, samples: Callable[[Any], Any] | None = None) -> list[Any]:
    """Random inputs of a tf_keras model: of scale 1 and of scale 100, or integers that its embeddings know.

    Args:
        model: The model.
        samples: Maps it to samples `(samples, ...)`, an array, a list or a dict by input name, whose sizes open
            dimensions take; called only where there are some.

    Raises:
        ModelError: The model takes text, or does not run on inputs of any size that is tried.
    """
    generator = np.random.default_rng(0)
    if all(None not in tensor.shape[1:] for tensor in model.inputs):
        return [_inputs(model, generator, 1, scale) for scale in SCALES]
    known = _sizes_of(model, samples(model)) if samples else {}
    if known:
        return [_inputs(model, generator, USUAL, scale, known) for scale in SCALES]
    return _long_enough(model, generator)


def _long_enough(model: Any, generator: np.random.Generator) -> list[Any]:
    """Inputs of the first size that the model can be traced with."""
    import tensorflow as tf

    traced = tf.function(lambda some: model(some, training=False))
    failure = ValueError(f"more than {MOST_NUMBERS:,} numbers in a sample")
    for size in SIZES:
        numbers = [np.prod([n or size for n in tensor.shape[1:]], dtype=float) for tensor in model.inputs]
        if size > USUAL and max(numbers) > MOST_NUMBERS:
            break
        try:
            traced.get_concrete_function(_inputs(model, generator, size, 1))
            return [_inputs(model, generator, size, scale) for scale in SCALES]
        except ValueError as error:
            failure = error
    raise ModelError(
        f"{model.name!r} does not run on random inputs of up to {size} steps: {describe(failure)}. Give samples, which "
        "show how long they are.",
        ("model",),
    ) from failure


def _sizes_of(model: Any, samples: Any) -> dict[int, Sequence[int]]:
    """The shape of a sample of each input that has some of its rank, by the identity of the input's tensor."""
    if isinstance(samples, Mapping):
        parts: list[Any] = [samples.get(tensor.name) for tensor in model.inputs]
    else:
        parts = list(samples) if isinstance(samples, list | tuple) else [samples]
    pairs = zip(model.inputs, (np.shape(part) for part in parts), strict=False)
    return {id(tensor): shape[1:] for tensor, shape in pairs if len(shape) == len(tensor.shape)}


def _inputs(
    model: Any,
    generator: np.random.Generator,
    size: int,
    scale: float,
    known: Mapping[int, Sequence[int]] | None = None,
) -> Any:
    """One structure of random inputs, with that size where a dimension is open and no sample is known."""
    import tensorflow as tf

    parts = model._flatten_layers(include_self=False)
    ids = [value for part in parts for key in ("input_dim", "num_tokens") if (value := getattr(part, key, None))]

    def sample(tensor: Any) -> Any:
        batch, *rest = tensor.shape
        seen = (known or {}).get(id(tensor)) or [size] * len(rest)
        some = 4 if size <= USUAL else 1
        shape = (batch or some, *(have if n is None else n for n, have in zip(rest, seen, strict=True)))
        if tensor.dtype == tf.string:
            raise ModelError(
                f"{model.name!r} takes text, which no .tflite of tfopt does. Give the part behind its lookup.",
                ("model",),
            )
        if ids or tensor.dtype.is_integer or tensor.dtype.is_bool:
            high = 2 if tensor.dtype.is_bool else min(ids, default=100)
            return tf.cast(generator.integers(0, high, shape), tensor.dtype)
        return tf.cast(generator.normal(0, scale, shape), tensor.dtype)

    return mapped(model._nested_inputs, sample)

"""The inputs of a model on the grids of its file's inputs, however they are handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

# Rounds a value to the grid of that number.
Rounding = Callable[[int, Any], Any]


def on_input_grids(model: Any, grids: Mapping[str, int], args: Any, rest: Any, rounded: Rounding) -> tuple[Any, Any]:
    """The arguments of a call of the model, with its inputs rounded to their grids.

    Args:
        model: The model.
        grids: Grid number by name of the file's input.
        args: The positional arguments; the inputs are the first, or the first by keyword.
        rest: The keyword arguments.
        rounded: Rounds an input.
    """
    if args:
        return (_rounded(model, grids, args[0], rounded), *args[1:]), rest
    first = next(iter(rest))
    return args, {**rest, first: _rounded(model, grids, rest[first], rounded)}


def _rounded(model: Any, grids: Mapping[str, int], taken: Any, rounded: Rounding) -> Any:
    """The model's input, rounded tensor by tensor under the names of the file's inputs."""

    def named(name: str, value: Any) -> Any:
        if name not in grids:
            return value
        # Integers are cast here, as Keras casts them only later.
        return rounded(grids[name], value if value.dtype.is_floating else tf.cast(value, tf.float32))

    if isinstance(taken, Mapping):
        struct = model.input if isinstance(model, keras.Function) else None
        known = struct if isinstance(struct, Mapping) else {}
        return {key: named(str(getattr(known.get(key), "name", key)), value) for key, value in taken.items()}
    ordered = [tensor.name for tensor in getattr(model, "inputs", None) or ()] or list(grids)
    flat = keras.tree.flatten(taken)
    new = [named(name, value) for name, value in zip(ordered, flat, strict=False)]
    return keras.tree.pack_sequence_as(taken, [*new, *flat[len(new) :]])

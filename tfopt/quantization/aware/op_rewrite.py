"""Rewrites op outputs inside of a computation while its graph is built.

TensorFlow's op callbacks see the outputs of every op and may replace them. GradientTape has by then taken
note of the op with what was put in, and would never ask what lies between: the gradient is therefore taken from the
graph, which has it all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfopt.keras_private import mask_of, set_mask
from tfopt.tensorflow_private import op_outputs_replaced

# Maps the name of an op and its outputs to new outputs, or None to leave them.
LayerChange = Callable[[str, Sequence[Any]], "Sequence[Any] | None"]


def computed(
    compute: Callable[..., Any],
    args: Any,
    rest: Any,
    change: LayerChange,
    outside: Sequence[Any] = (),
    handed: Callable[[Sequence[Any]], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Any:
    """The result of `compute(*args, **rest)` with op outputs inside of it changed, differentiable throughout.

    Args:
        compute: The computation; runs in a graph, not eagerly.
        args: Its positional arguments, possibly nested.
        rest: Its keyword arguments.
        change: Called for every op with its name and outputs; returns new outputs or None.
        outside: Float tensors that the computation captures rather than takes, and that need a gradient.
        handed: Context manager that gets the stand-ins of `outside`, to be read within its block.
    """
    flat = tf.nest.flatten((args, rest))
    floats = [i for i, value in enumerate(flat) if tf.is_tensor(value) and value.dtype.is_floating]
    found: list[Any] = []

    @tf.custom_gradient
    def inner(*tensors: Any) -> Any:
        given = list(flat)
        for place, tensor in zip(floats, tensors, strict=False):
            given[place] = with_mask(tensor, flat[place])
        new_args, new_rest = tf.nest.pack_sequence_as((args, rest), given)
        with handed(tensors[len(floats) :]), op_outputs_replaced(change):
            outputs = compute(*new_args, **new_rest)
        found[:] = [outputs, keras.tree.flatten(outputs)]
        results = [value for value in found[1] if tf.is_tensor(value)]
        return results, lambda *gradients, variables=None: _gradient(tensors, results, gradients, variables)

    # One tensor may be handed over twice, with a gradient for each.
    taken = [tf.identity(value) for value in (*(flat[i] for i in floats), *outside)]
    results = iter(tf.nest.flatten(inner(*taken)))
    outputs, values = found
    new = [with_mask(next(results), value) if tf.is_tensor(value) else value for value in values]
    return keras.tree.pack_sequence_as(outputs, new)


def _gradient(tensors: Sequence[Any], results: Sequence[Any], gradients: Sequence[Any], variables: Any) -> Any:
    pairs = [(value, g) for value, g in zip(results, gradients, strict=True) if value.dtype.is_floating]
    values, given = (list(column) for column in zip(*pairs, strict=True))
    taken, own = list(tensors), list(variables or ())
    # Gradients stop at the inputs: a variable may be used before them as well.
    back = tf.gradients(values, [*taken, *own], given, stop_gradients=taken, unconnected_gradients="zero")
    back = [tf.convert_to_tensor(gradient) for gradient in back]
    return (back[: len(taken)], back[len(taken) :]) if variables else back


def with_mask(tensor: Any, original: Any) -> Any:
    """A tensor that is given the Keras mask of another."""
    if (mask := mask_of(original)) is not None:
        set_mask(tensor, mask)
    return tensor

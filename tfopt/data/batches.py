"""Batches of arrays in memory as `tf.data.Dataset`s, which copy no more of large arrays than a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

# Arrays up to this size are copied into tensors, which takes less time for each batch than Python does.
SMALL_BYTES = 2**24


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same data set without autotuning, for whose thread the end of every pass would wait, up to seconds."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def batches_of(arrays: Any, size: int) -> tf.data.Dataset:
    """The batches of arrays `(samples, ...)`, nested in any way, in their order.

    Args:
        arrays: The arrays, which stay where they are in memory unless they are small.
        size: Samples of a batch.
    """
    import tensorflow as tf

    if is_small(arrays):
        return untuned(tf.data.Dataset.from_tensor_slices(arrays).batch(size))
    count = len(tf.nest.flatten(arrays)[0])

    def batch(number: Any) -> Any:
        return rows_of(arrays, number * size, lambda array, first: array[first : first + size])

    return untuned(tf.data.Dataset.range(-(-count // size)).map(batch).prefetch(2))


def is_small(arrays: Any) -> bool:
    """Whether a copy of arrays, nested in any way, is nothing to speak of."""
    import tensorflow as tf

    return sum(np.asarray(array).nbytes for array in tf.nest.flatten(arrays)) <= SMALL_BYTES


def rows_of(arrays: Any, index: Any, choose: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    """Some samples of arrays, nested in any way, as tensors: for the function of a `tf.data.Dataset.map`.

    A data set that is given whole arrays copies them once as a tensor, and again as a part of its graph, each time that
    it is read; here only what is chosen is copied.

    Args:
        arrays: The arrays `(samples, ...)`.
        index: A tensor for `choose`.
        choose: Gives the samples of an array for the value of `index`.
    """
    import tensorflow as tf

    flat = [np.asarray(array) for array in tf.nest.flatten(arrays)]
    types = [tf.as_dtype(array.dtype) for array in flat]

    def chosen(index: np.ndarray) -> list[np.ndarray]:
        return [choose(a, index).astype(t.as_numpy_dtype, copy=False) for a, t in zip(flat, types, strict=True)]

    parts = tf.numpy_function(chosen, [index], types)
    shaped = [tf.ensure_shape(part, (None, *array.shape[1:])) for part, array in zip(parts, flat, strict=True)]
    return tf.nest.pack_sequence_as(arrays, shaped)

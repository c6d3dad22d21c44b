"""An LSTM with a mask by one without: the steps that count are put to the front, and their outputs back in place.

At a step that a mask leaves out, an LSTM keeps its state and repeats its output. Its outputs are therefore those for
the steps that count alone, in their order, whatever the mask: padding before or after, or holes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def masked_sequence(run: Callable[[Any], Any], data: Any, mask: Any, every_step: bool, zeros: bool) -> Any:
    """The outputs of a recurrent layer for the steps that count.

    Args:
        run: Maps a sequence `(batch, steps, inputs)` to the outputs at each step `(batch, steps, units)`.
        data: The sequence, `(batch, steps, inputs)`.
        mask: Which steps count, `(batch, steps)`.
        every_step: Whether the outputs at all steps are given, or that at the last.
        zeros: Whether the output at a step that does not count is 0, and not that of the step before it.

    Returns:
        `(batch, steps, units)`, or `(batch, units)`.
    """
    counts = tf.cast(mask, tf.float32)
    so_far = tf.cumsum(counts, axis=1)
    number = tf.range(1, data.shape[1] + 1, dtype=tf.float32)
    at = tf.cast(tf.equal(number[None, None, :], so_far[:, :, None]), tf.float32)  # (batch, steps, number of the step)
    outputs = run(tf.matmul(at * counts[:, :, None], data, transpose_a=True))
    if not every_step:
        return tf.matmul(at[:, -1:], outputs)[:, 0]
    found = tf.matmul(at, outputs)
    return found * counts[:, :, None] if zeros else found

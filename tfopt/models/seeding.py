"""Random numbers and ops that give the same bits at every run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy and TensorFlow, and makes ops deterministic for the length of the block."""
    from tensorflow.python.framework import config  # the public module can switch determinism on but not off

    before = config.is_op_determinism_enabled()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()

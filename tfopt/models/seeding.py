"""Random numbers and ops that give the same bits at every run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from tfopt.tensorflow_private import disable_op_determinism, is_op_determinism_enabled


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy and TensorFlow, and makes ops deterministic for the length of the block."""
    before = is_op_determinism_enabled()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            disable_op_determinism()

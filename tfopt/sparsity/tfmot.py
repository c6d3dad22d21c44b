"""The only import of TF-MOT: its schedules and its pruning arithmetic.

Importing TF-MOT sets TF_USE_LEGACY_KERAS=1 and so turns `tf.keras` of the whole process, and of its children, into
Keras 2 (`tensorflow_model_optimization/python/core/keras/compat.py`). Here `tf.keras` is bound before, and the
variable is put back after.
"""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

import tensorflow as tf

_VARIABLE = "TF_USE_LEGACY_KERAS"


class TfMot(NamedTuple):
    """The parts of TF-MOT that work on variables of any Keras."""

    PolynomialDecay: Any
    ConstantSparsity: Any
    PruningSchedule: Any
    Pruning: Any
    factorized_pool: Any
    generate_m_by_n_mask: Any


@functools.cache
def tfmot() -> TfMot:
    """TF-MOT's schedules and arithmetic, with the side effect of importing it undone."""
    before = os.environ.get(_VARIABLE)
    tf.keras.layers  # noqa: B018  binds the lazy tf.keras to what the user has
    try:
        from tensorflow_model_optimization.python.core.sparsity.keras import (
            pruning_impl,
            pruning_schedule,
            pruning_utils,
        )
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
    return TfMot(
        pruning_schedule.PolynomialDecay,
        pruning_schedule.ConstantSparsity,
        pruning_schedule.PruningSchedule,
        pruning_impl.Pruning,
        pruning_utils.factorized_pool,
        pruning_utils.generate_m_by_n_mask,
    )

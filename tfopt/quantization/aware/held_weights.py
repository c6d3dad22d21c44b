"""Zeros of pruned kernels and shared values of clustered kernels, kept while a model is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfopt.models.constraints import HeldConstraint, SharedValueConstraint, ZeroConstraint, own_constraint
from tfopt.models.layers import Kernel, prunable, walk
from tfopt.quantization.clustered_kernels import codebook


def held_weights(model: keras.Model, holder: Any) -> list[tuple[Any, HeldConstraint]]:
    """Gives the kernels that are pruned or clustered a constraint that keeps them so.

    Args:
        model: The model.
        holder: Whom a user knows as the one that holds them.

    Returns:
        The variables and the constraints that they got, which know those that they had before.

    Raises:
        ModelError: Something else prunes or clusters the model in the same `fit`.
    """
    found = []
    try:
        with model.distribute_strategy.scope():
            for place in walk(model):
                for kernel in prunable(place, asked=True):
                    held = _constraint(kernel, holder)
                    if held is not None:
                        kernel.variable.constraint = held
                        found.append((kernel.variable, held))
    except BaseException:
        let_go(found)
        raise
    return found


def let_go(held: list[tuple[Any, HeldConstraint]]) -> None:
    """Gives variables back the constraints that they had before `held_weights`."""
    for variable, constraint in held:
        if variable.constraint is constraint:
            variable.constraint = constraint.own


def _constraint(kernel: Kernel, holder: Any) -> HeldConstraint | None:
    """What keeps the zeros or the shared values of a kernel; None for one that has neither."""
    weights = np.asarray(kernel.variable.value.numpy())
    own = own_constraint(kernel, holder)
    if codebook(kernel):
        values, numbers = np.unique(weights, return_inverse=True)
        if len(values) == 1:
            return ZeroConstraint(weights != 0, own, holder)
        return SharedValueConstraint(np.where(weights == 0, -1, numbers.reshape(weights.shape)), own, holder)
    if weights.any() and not weights.all():
        return ZeroConstraint(weights != 0, own, holder)
    return None

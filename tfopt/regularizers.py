"""L1 and L2 penalties on the kernels of a finished model, attached and removed without rebuilding it.

With weights `w` of one kernel the penalties added to the loss are `l1 * sum(|w|)` and `l2 * sum(w ** 2)`.

References:
    Tibshirani, Regression shrinkage and selection via the lasso, J. R. Stat. Soc. B 58 (1996).
    Krogh and Hertz, A simple weight decay can improve generalization, NeurIPS 1991.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfopt.layers import kernels, select, walk


@dataclass(frozen=True)
class Penalty:
    """One rule: how strongly, and on which layers.

    Args:
        l1: Factor of the sum of absolute weights.
        l2: Factor of the sum of squared weights.
        only: Layer patterns; empty means every layer with a kernel.
        skip: Layer patterns to leave out.
    """

    l1: float = 0.0
    l2: float = 0.0
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()


class _Sum:
    """The model's own regularizer and the attached ones, added up."""

    def __init__(self, parts: Sequence[Any]):
        self.parts = parts

    def __call__(self, weights: Any) -> Any:
        return sum(part(weights) for part in self.parts)


def chosen(model: keras.Model, penalty: Penalty) -> list[Any]:
    """The kernels a penalty falls on.

    Raises:
        ModelError: A pattern matches no layer.
    """
    return [kernel for place in select(list(walk(model)), penalty.only, penalty.skip) for kernel in kernels(place)]


@contextlib.contextmanager
def attached(model: keras.Model, penalties: Sequence[Penalty]) -> Iterator[None]:
    """Adds penalties for the length of the block; the model's own regularizers stay in force, then and after.

    A kernel that several penalties choose carries the sum. Keras traces a training step once: compile after
    entering, and again after leaving.

    Raises:
        ModelError: A pattern matches no layer.
    """
    before: dict[int, tuple[Any, Any]] = {}
    try:
        for penalty in penalties:
            for kernel in chosen(model, penalty):
                variable = kernel.variable
                before.setdefault(id(variable), (variable, variable.regularizer))
                own = [] if variable.regularizer is None else [variable.regularizer]
                variable.regularizer = _Sum([*own, keras.regularizers.L1L2(penalty.l1, penalty.l2)])
        yield
    finally:
        for variable, regularizer in before.values():
            variable.regularizer = regularizer

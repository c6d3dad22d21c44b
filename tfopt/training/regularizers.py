"""Penalties on the weights of a finished model, attached and removed without rebuilding it.

With weights `w` of one kernel the penalties added to the loss are `l1 * sum(|w|)`, `l2 * sum(w ** 2)` and
`group_lasso * sum_c(sqrt(n) * ||w_c||)`, where `w_c` are the n weights that make output channel c; with the scales `g`
of one BatchNormalization `scale_l1 * sum(|g|)`. The last two drive whole channels to zero. With `W` the kernel as a
matrix `(weights of a channel, channels)`, `orthogonal * ||W^T W - I||^2`, or `||W W^T - I||^2` where channels are more.

References:
    Tibshirani, Regression shrinkage and selection via the lasso, J. R. Stat. Soc. B 58 (1996).
    Krogh and Hertz, A simple weight decay can improve generalization, NeurIPS 1991.
    Yuan and Lin, Model selection and estimation in regression with grouped variables, J. R. Stat. Soc. B 68 (2006).
    Wen et al., Learning structured sparsity in deep neural networks, arXiv:1608.03665 (group lasso on channels).
    Liu et al., Learning efficient convolutional networks through network slimming, arXiv:1708.06519 (scale_l1).
    Bansal, Chen and Wang, Can we gain more from orthogonality regularizations, arXiv:1810.09102 (orthogonal).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from tfopt.errors import ModelError
from tfopt.models.layers import LayerRef, kernels, operations, select, walk


class WeightPenalty(Protocol):
    """A penalty on weights of a model."""

    def parts(self, model: keras.Model) -> Iterator[tuple[Any, Any]]:
        """Each variable that the penalty falls on, with its regularizer: a function of the variable, a scalar."""


@dataclass(frozen=True)
class Penalty:
    """Penalties on weights: their factors, and the layers that they fall on.

    Args:
        l1: Factor of the sum of absolute weights.
        l2: Factor of the sum of squared weights.
        group_lasso: Factor of the sum of the norms of each output channel's weights.
        scale_l1: Factor of the sum of absolute scales of BatchNormalizations.
        orthogonal: Factor of the squared distance of each kernel's channels from being orthonormal.
        only: Layer patterns; empty means every layer with a kernel, or with a scale.
        skip: Layer patterns to leave out.
    """

    l1: float = 0.0
    l2: float = 0.0
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    group_lasso: float = 0.0
    scale_l1: float = 0.0
    orthogonal: float = 0.0

    def parts(self, model: keras.Model) -> Iterator[tuple[Any, Any]]:
        """`parts` of this penalty."""
        return parts(model, self)


class GroupLasso:
    """The sum over output channels of the Euclidean norm of their weights, times the root of the number of these.

    Args:
        factor: Factor of the penalty.
        axis: The axis of the output channels.
    """

    # Added to the sum of squares, as the norm has no gradient at zero.
    EPSILON = 1e-12

    def __init__(self, factor: float, axis: int = -1):
        self.factor, self.axis = factor, axis

    def __call__(self, weights: Any) -> Any:
        """The penalty of one kernel, a scalar."""
        others = [axis for axis in range(len(weights.shape)) if axis != self.axis % len(weights.shape)]
        squares = keras.ops.sum(keras.ops.square(weights), axis=others)
        size = float(np.prod([weights.shape[axis] for axis in others]))
        return self.factor * size**0.5 * keras.ops.sum(keras.ops.sqrt(squares + self.EPSILON))


class Orthogonal:
    """The squared Frobenius norm of `W^T W - I`, where a column of W holds the weights of one output channel.

    With more channels than weights to each, which cannot be orthogonal, it is that of `W W^T - I`.

    Args:
        factor: Factor of the penalty.
        axis: The axis of the output channels.
    """

    def __init__(self, factor: float, axis: int = -1):
        self.factor, self.axis = factor, axis

    def __call__(self, weights: Any) -> Any:
        """The penalty of one kernel, a scalar."""
        channels = weights.shape[self.axis]
        matrix = keras.ops.reshape(keras.ops.moveaxis(weights, self.axis, -1), (-1, channels))
        if matrix.shape[0] < channels:
            matrix = keras.ops.transpose(matrix)
        gram = keras.ops.matmul(keras.ops.transpose(matrix), matrix)
        return self.factor * keras.ops.sum(keras.ops.square(gram - keras.ops.eye(matrix.shape[1], dtype=gram.dtype)))


class _Sum:
    """The model's own regularizer and the attached ones, added up."""

    def __init__(self, parts: Sequence[Any]):
        self.parts = parts

    def __call__(self, weights: Any) -> Any:
        return sum(part(weights) for part in self.parts)


def chosen(model: keras.Model, penalty: Penalty) -> list[Any]:
    """The kernels that a penalty falls on.

    Raises:
        ModelError: A pattern matches no layer.
    """
    return [kernel for place in _selected(model, penalty) for kernel in kernels(place)]


def _selected(model: keras.Model, penalty: Penalty) -> list[LayerRef]:
    return select(list(walk(model)), penalty.only, penalty.skip, list(operations(model)))


def parts(model: keras.Model, penalty: Penalty) -> Iterator[tuple[Any, Any]]:
    """Each variable that a penalty falls on, with its regularizer: a function of the variable that gives a scalar.

    Raises:
        ModelError: A pattern matches no layer, or `scale_l1` finds no BatchNormalization with a scale.
    """
    for kernel in chosen(model, penalty):
        if penalty.l1 or penalty.l2:
            yield kernel.variable, keras.regularizers.L1L2(penalty.l1, penalty.l2)
        kind = type(kernel.place.layer).__name__
        before_last = kind.endswith("Transpose") or kind.startswith("Depthwise")
        for factor, made in ((penalty.group_lasso, GroupLasso), (penalty.orthogonal, Orthogonal)):
            if factor:
                yield kernel.variable, made(factor, -2 if before_last else -1)
    if not penalty.scale_l1:
        return
    layers = [place.layer for place in _selected(model, penalty)]
    scales = [layer.gamma for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    if all(scale is None for scale in scales):
        raise ModelError("scale_l1 falls on BatchNormalizations with a scale, and none is chosen.", ("scale_l1",))
    yield from ((scale, keras.regularizers.L1(penalty.scale_l1)) for scale in scales if scale is not None)


class Attachment:
    """Penalties on a model, until they are removed.

    A variable that several penalties choose carries the sum; the model's own regularizers stay in force. Keras traces
    a training step once: compile after attaching, and again after removing.

    Args:
        model: A built model.
        penalties: The penalties to attach.

    Raises:
        ModelError: A pattern matches no layer.
    """

    def __init__(self, model: keras.Model, penalties: Sequence[WeightPenalty]):
        self._before: dict[int, tuple[Any, Any]] = {}
        try:
            for penalty in penalties:
                for variable, part in penalty.parts(model):
                    self._before.setdefault(id(variable), (variable, variable.regularizer))
                    own = [] if variable.regularizer is None else [variable.regularizer]
                    variable.regularizer = _Sum([*own, part])
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Restores the regularizer that each variable had."""
        for variable, regularizer in self._before.values():
            variable.regularizer = regularizer
        self._before = {}


def attach(model: keras.Model, penalties: Sequence[WeightPenalty]) -> Attachment:
    """Adds penalties to a finished model, until `remove()` is called on what it returns."""
    return Attachment(model, penalties)


@contextlib.contextmanager
def attached(model: keras.Model, penalties: Sequence[WeightPenalty]) -> Iterator[Attachment]:
    """Adds penalties for the length of the block."""
    attachment = attach(model, penalties)
    try:
        yield attachment
    finally:
        attachment.remove()


def penalty_of(model: keras.Model) -> float:
    """The sum of the regularizers of all trainable weights of a model, its own among them."""
    weights = [variable for variable in model.trainable_variables if variable.regularizer is not None]
    return float(sum(float(keras.ops.sum(variable.regularizer(variable))) for variable in weights))

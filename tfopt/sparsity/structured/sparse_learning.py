"""Sparse learning: penalties that drive whole groups of coupled channels to zero, so that their removal costs little.

With `g_k` the `n_k` weights of the group k, those that make its channels, read them and scale them, the penalty added
to the loss is `weight * sum_k(s_k * ||g_k||^2)` for `group_norm`, and `weight * sum_k(s_k * sqrt(n_k) * ||g_k||)` for
`group_lasso`. The strength `s_k = 2^(growth * (max - ||g_k||) / (max - min))` goes from 1 for the group of the largest
norm among those of the same layers to `2^growth` for that of the smallest. It is taken anew at every step and has no
gradient. `batchnorm` is `weight * sum(|gamma|)` over the scales of BatchNormalizations.

References:
    Fang et al., DepGraph: towards any structural pruning, arXiv:2301.12900 (group_norm, and the strengths).
    Yuan and Lin, Model selection and estimation in regression with grouped variables, J. R. Stat. Soc. B 68 (2006).
    Liu et al., Learning efficient convolutional networks through network slimming, arXiv:1708.06519 (batchnorm).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras
import numpy as np

from tfopt.errors import InputError, ModelError
from tfopt.sparsity.structured.dependency_graph import CoupledGroups, DependencyGraph, read
from tfopt.sparsity.structured.propagation import Axis, Call
from tfopt.sparsity.structured.selection import LayerLimits, chosen_families

__all__ = ["ChannelPenalty"]

Kind = Literal["group_norm", "group_lasso", "batchnorm"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class ChannelPenalty:
    """A penalty on the groups of channels that are removed together, for `tfopt.regularizers.attach`.

    Args:
        weight: Factor of the penalty.
        kind: `group_norm`: squared norms of the groups. `group_lasso`: norms. `batchnorm`: absolute BatchNorm scales.
        growth: How many times the strength doubles from the group of the largest norm to that of the smallest; 0 for
            the same strength for all. The kind `batchnorm` has none.
        only: Layer patterns; empty means every layer. Channels coupled to those of a chosen layer count too.
        skip: Layer patterns to leave out, with all channels coupled to them.

    Raises:
        InputError: An unknown kind, or a number out of its range.

    Example:
        ```python
        attachment = tfopt.regularizers.attach(model, [tfopt.regularizers.ChannelPenalty(1e-3)])
        ```
    """

    weight: float
    kind: str = "group_norm"
    growth: float = 4.0
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"a penalty on channels is {', '.join(KINDS)}. Received: kind={self.kind!r}.", ("kind",))
        for name in ("weight", "growth"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is 0 or above. Received: {getattr(self, name)}.", (name,))

    def parts(self, model: keras.Model) -> Iterator[tuple[Any, Any]]:
        """Each variable that carries a part of the penalty, with its regularizer: a function that gives a scalar.

        Args:
            model: A built functional or Sequential model.

        Raises:
            ModelError: The model has no graph, a pattern matches no layer, or the penalty falls on no weight.
        """
        structure = read(model)
        limits = LayerLimits(only=self.only, skip=self.skip)
        families = sorted(chosen_families(structure, limits), key=lambda family: family.groups)
        groups = {group: number for number, family in enumerate(families) for group in family.groups}
        penalized = [
            axis
            for call, axis in structure.axes
            if _counts(call, axis, self.kind) and not groups.keys().isdisjoint(structure.roots[axis.ids].tolist())
        ]
        if not penalized:
            what = "BatchNormalization with a scale follows" if self.kind == "batchnorm" else "weight belongs to"
            raise ModelError(f"no trainable {what} channels that can be removed.", ("sparse_learning",))
        if self.kind == "batchnorm":
            yield from ((axis.variable, keras.regularizers.L1(self.weight)) for axis in penalized)
        else:  # groups go across variables: one of these carries the penalty of all
            yield penalized[0].variable, GroupPenalty(structure, families, penalized, self)


class GroupPenalty:
    """The penalty of all groups, a scalar whose gradient goes to all weights of theirs.

    Args:
        structure: The dependency graph of the model.
        families: The families of groups that are penalized.
        axes: The axes of weights that run along their channels.
        settings: Kind, weight and growth.
    """

    # Added to the squared norm, as the norm has no gradient at zero.
    EPSILON = 1e-12

    def __init__(
        self,
        structure: DependencyGraph,
        families: Sequence[CoupledGroups],
        axes: Sequence[Axis],
        settings: ChannelPenalty,
    ):
        self._weight, self._growth, self._kind = settings.weight, settings.growth, settings.kind
        self._family = np.array([number for number, family in enumerate(families) for _ in family.groups], np.int32)
        self._families, self._groups = len(families), len(self._family)
        position = np.full(len(structure.channels), self._groups, np.int32)  # of channels that stay: a group beyond
        position[[group for family in families for group in family.groups]] = np.arange(self._groups)
        self._axes = [(axis.variable, axis.axis, position[structure.roots[axis.ids]]) for axis in axes]
        self._sizes = np.zeros(self._groups, np.float32)
        for variable, axis, index in self._axes:
            each = np.prod(variable.shape) / variable.shape[axis]
            np.add.at(self._sizes, index[index < self._groups], each)

    def __call__(self, weights: Any) -> Any:
        """The penalty, a scalar; `weights` is the variable that carries it, which is one of many that count."""
        squares = self.squared_norms()
        strengths = self.strengths(squares)
        if self._kind == "group_lasso":
            squares = np.sqrt(self._sizes) * keras.ops.sqrt(squares + self.EPSILON)
        return self._weight * keras.ops.sum(strengths * squares)

    def squared_norms(self) -> Any:
        """The sum of squared weights of each group, `(groups,)`."""
        total = keras.ops.zeros((self._groups + 1,))
        for variable, axis, index in self._axes:
            others = [other for other in range(len(variable.shape)) if other != axis % len(variable.shape)]
            sums = keras.ops.sum(keras.ops.square(variable), axis=others)
            total = total + keras.ops.segment_sum(sums, index, num_segments=self._groups + 1)
        return total[: self._groups]

    def strengths(self, squares: Any) -> Any:
        """The factor of each group, `(groups,)`: from 1 to `2^growth` within each family."""
        norms = keras.ops.sqrt(keras.ops.stop_gradient(squares))
        largest = keras.ops.segment_max(norms, self._family, num_segments=self._families)
        smallest = -keras.ops.segment_max(-norms, self._family, num_segments=self._families)
        span = keras.ops.take(largest - smallest, self._family)
        below = keras.ops.take(largest, self._family) - norms
        return keras.ops.power(2.0, self._growth * below / keras.ops.where(span > 0, span, 1.0))


def _counts(call: Call, axis: Axis, kind: str) -> bool:
    """Whether a weight counts: a BatchNormalization's scale, and for whole groups every kernel too, but no bias."""
    scale = call.kind == "BatchNormalization" and axis.variable is call.operation.gamma
    kernel = len(axis.variable.shape) > 1 and kind != "batchnorm"
    return bool(axis.variable.trainable and (scale or kernel))

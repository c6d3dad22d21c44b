"""Compensation of removed channels: the layers that read them make up for them, before any training.

References:
    He, Zhang and Sun, Channel pruning for accelerating very deep neural networks, arXiv:1707.06168 (reconstruction of
    the next layer's outputs by least squares).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfopt.data.arrays import Arrays
from tfopt.models.layers import Kernel, prunable, walk
from tfopt.sparsity.least_squares import LayerProblem, refitted
from tfopt.sparsity.one_shot.linear_layers import LinearLayer, linear_layer
from tfopt.sparsity.one_shot.paired_forward import PairedForward
from tfopt.sparsity.one_shot.reconstruction import reconstruct
from tfopt.sparsity.structured.dependency_graph import DependencyGraph


def compensated(structure: DependencyGraph, drop: Iterable[int], x: Arrays) -> dict[int, np.ndarray]:
    """New values of weights by the variable's identity, in their old shapes, for `surgery.cut`.

    Every layer that reads removed channels, and is a product with a matrix, has the weights for the others that come
    nearest to the outputs that it had, and the difference of the means in its bias.

    Args:
        structure: The dependency graph of the model, which is as it was afterwards.
        drop: The groups that are removed.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name.
    """
    model, left = structure.model, structure.left(drop)
    kept: dict[int, tuple[Any, np.ndarray]] = {}
    for _, axis in structure.axes:
        if axis.role == "takes" and not left[axis.ids].all():
            shape = [1] * len(axis.variable.shape)
            shape[axis.axis] = -1
            before = kept.get(id(axis.variable), (None, np.ones(axis.variable.shape, bool)))[1]
            kept[id(axis.variable)] = (axis.variable, before & left[axis.ids].reshape(shape))
    kernels = [kernel for place in walk(model) for kernel in prunable(place, asked=True)]
    reading = [kernel for kernel in kernels if id(kernel.variable) in kept]

    def solved(kernel: Kernel, problem: LayerProblem) -> np.ndarray:
        linear = linear_layer(kernel)
        if not isinstance(linear, LinearLayer):
            return problem.weights
        return refitted(problem, linear.matrix(kept[id(kernel.variable)][1]) > 0)

    paired = PairedForward(model, x)
    try:
        for variable, mask in kept.values():  # nothing reads the removed channels from here on
            paired.assign(variable, np.where(mask, np.asarray(variable), 0))
        reconstruct(model, reading, x, solved, paired)
        return paired.changed()
    finally:
        paired.restore()

"""Where the shift of the mean of a layer's outputs goes: into its bias, or into the BatchNormalization behind it.

References:
    Nagel et al., Data-free quantization through weight equalization and bias correction, arXiv:1906.04721.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.models.graph import graph_of, nodes_of
from tfopt.models.layers import walk
from tfopt.sparsity.one_shot.linear_layers import LinearLayer


@dataclass(frozen=True)
class MeanShift:
    """A variable that can move the outputs of a layer by a constant.

    Args:
        variable: A bias, or the moving mean of a BatchNormalization.
        sign: 1 where the outputs move with it, -1 where they move against it.
        order: Order of the layer's output axes in it, for a shift of several axes.
        axes: Sizes of the kernel's output axes.
    """

    variable: Any
    sign: int
    order: tuple[int, ...]
    axes: tuple[int, ...]

    def moved(self, shift: np.ndarray) -> np.ndarray:
        """The variable's value once the outputs, `(outputs,)`, are moved by a shift."""
        value = np.asarray(self.variable)
        moved = shift.reshape(self.axes).transpose(self.order).reshape(value.shape)
        return (value + self.sign * moved).astype(value.dtype)


def mean_shift(model: keras.Model, linear: LinearLayer) -> MeanShift | None:
    """Where a shift of a layer's outputs goes; None where it has no bias, and no BatchNormalization takes them."""
    layer, kernel = linear.layer, linear.kernel.variable
    axes = tuple(int(kernel.shape[axis]) for axis in linear.given)
    order = tuple(range(len(axes)))
    if (bias := getattr(layer, "bias", None)) is None:
        behind = _normalization(model, layer)
        return None if behind is None else MeanShift(behind.moving_mean, -1, order, axes)
    if (bias_axes := getattr(layer, "bias_axes", None)) is not None:
        inputs_weights, outputs = layer.equation.replace(" ", "").split("->")
        weights = inputs_weights.split(",")[1]
        labels = [weights[axis] for axis in linear.given]
        if set(bias_axes) != set(labels):
            return None
        order = tuple(labels.index(label) for label in outputs if label in labels)
    return MeanShift(bias, 1, order, axes)


def _normalization(model: keras.Model, layer: Any) -> Any:
    """The BatchNormalization that alone takes what a layer gives; None where there is none."""
    if getattr(layer, "activation", None) not in (None, keras.activations.linear):
        return None
    found = [(node, takers) for node, takers in _takers(model) if node.operation is layer]
    if len(found) != 1 or len(found[0][1]) != 1:
        return None
    [(_, [taker])] = found
    once = taker is not None and sum(node.operation is taker.operation for node, _ in _takers(model)) == 1
    if not once or not isinstance(taker.operation, keras.layers.BatchNormalization):
        return None
    rank = len(taker.outputs[0].shape)
    return taker.operation if taker.operation.axis % rank == rank - 1 else None


def _takers(model: keras.Model) -> Iterator[tuple[Any, list[Any]]]:
    """The nodes of a model and of those in it, each with the nodes that take its outputs; None is the graph's end."""
    graphs = [graph_of(model), *(graph_of(place.layer) for place in walk(model))]
    for graph in {id(graph): graph for graph in graphs if graph is not None}.values():
        nodes = nodes_of(graph)
        for node in nodes:
            given = {id(tensor) for tensor in node.outputs}
            takers = [other for other in nodes for tensor in other.input_tensors if id(tensor) in given]
            ends = [None for tensor in graph.outputs if id(tensor) in given]
            yield node, [*takers, *ends]

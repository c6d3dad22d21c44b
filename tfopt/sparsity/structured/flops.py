"""The parameters and FLOPs of each layer, also for channels that are still to be removed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfopt.sparsity.structured.channel_ids import Ids
from tfopt.sparsity.structured.dependency_graph import DependencyGraph
from tfopt.sparsity.structured.propagation import Call

# Layers whose kernel is applied at each position of the input, not of the output.
_BY_INPUT = {"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "LSTM", "GRU", "SimpleRNN", "Bidirectional"}


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer.

    Args:
        path: Path of the layer.
        kind: Class name of the layer.
        channels: Channels of its output.
        parameters: Number of its weights and biases.
        flops: Floating point operations for one sample: two for each multiplication by a weight and its addition, and
            those of an attention's products. What has no kernel, a normalization or an activation, counts as none.
    """

    path: str
    kind: str
    channels: int
    parameters: int
    flops: int


def costs(structure: DependencyGraph, left: np.ndarray | None = None) -> list[LayerCost]:
    """The cost of every layer with weights, a shared one's operations once for each of its calls.

    Args:
        structure: The dependency graph of the model.
        left: Mask of channels that are left, from `DependencyGraph.left`; all if not given.

    Returns:
        Costs in the order in which the layers run. An open dimension counts as one position.
    """
    left = np.ones(len(structure.channels), bool) if left is None else left
    found: dict[int, LayerCost] = {}
    for call, (_, outputs) in zip(structure.calls, structure.tensors, strict=True):
        layer = call.operation
        if not isinstance(layer, keras.Layer) or not layer.weights:
            continue
        shapes = _shapes(structure, layer, left)
        flops = _flops(call, shapes)
        before = found.get(id(layer))
        parameters = sum(math.prod(shape) for shape in shapes.values())
        flops += before.flops if before else 0
        path = before.path if before else call.path
        found[id(layer)] = LayerCost(path, call.kind, _count(outputs[0].ids, left), parameters, flops)
    return list(found.values())


def _count(ids: Ids, left: np.ndarray) -> int:
    return int(left[ids].sum())


def _shapes(structure: DependencyGraph, layer: Any, left: np.ndarray) -> dict[int, list[int]]:
    """The shape of each weight after removal, by the weight's identity."""
    shapes = {id(variable): list(variable.shape) for variable in layer.weights}
    flow = structure.flows.get(id(layer))
    for axis in flow.axes if flow is not None else ():
        shapes[id(axis.variable)][axis.axis] = _count(axis.ids, left)
    return shapes


def _flops(call: Call, shapes: Mapping[int, Sequence[int]]) -> int:
    layer = call.operation
    if call.kind == "Embedding":
        return 0
    if call.kind == "MultiHeadAttention":
        return _attention(call, shapes)
    if call.kind.startswith("Separable") or "Normalization" in call.kind or call.kind == "PReLU":
        return 0 if not call.kind.startswith("Separable") else _kernels(layer.weights, shapes, _places(call.outputs[0]))
    places = _places((call.inputs if call.kind in _BY_INPUT else call.outputs)[0])
    return _kernels(layer.weights, shapes, places)


def _kernels(weights: Sequence[Any], shapes: Mapping[int, Sequence[int]], places: int) -> int:
    matrices = [shapes[id(variable)] for variable in weights if len(variable.shape) > 1 and "bias" not in variable.name]
    return 2 * places * sum(math.prod(shape) for shape in matrices)


def _attention(call: Call, shapes: Mapping[int, Sequence[int]]) -> int:
    """The four projections, the scores, and their products with the values."""
    layer, arguments = call.operation, call.node.arguments
    given = dict(zip(("query", "value", "key"), arguments.args, strict=False)) | arguments.kwargs
    asked, known = _places(given["query"]), _places(given["value"])
    ends = [(layer.query_dense, asked), (layer.output_dense, asked)]
    ends += [(layer.key_dense, known), (layer.value_dense, known)]
    projected = sum(_kernels(dense.weights, shapes, places) for dense, places in ends)
    _, heads, size = shapes[id(layer.query_dense.kernel)]
    value_size = shapes[id(layer.value_dense.kernel)][2]
    return projected + 2 * heads * asked * known * (size + value_size)


def _places(tensor: Any) -> int:
    """The positions of a tensor: all dimensions but the batch and the channels."""
    return math.prod(size or 1 for size in tensor.shape[1:-1])

"""A smaller model of the same layers, without some of its channels."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from tfopt.graphs import graph_of
from tfopt.sparsity.structured.channels import Ids
from tfopt.sparsity.structured.structure import Structure


def cut(
    structure: Structure,
    drop: Iterable[int],
    weights: Mapping[int, np.ndarray] | None = None,
    biases: Mapping[int, np.ndarray] | None = None,
) -> keras.Model:
    """The model without some groups of channels, with its weights; the model it is made from stays as it is.

    Args:
        structure: The model as `structure.read` sees it.
        drop: The groups to remove.
        weights: Other values for weights, in their old shapes, by the variable's identity.
        biases: Biases for layers that may have none yet, one for each output before the cut, by the layer's identity.

    Returns:
        A new model of the same layer classes and names, compiled as the old one where that was.
    """
    maker = _Maker(structure, structure.left(drop), weights or {}, biases or {})
    model = structure.model
    smaller = maker.model(model, graph_of(model).inputs)
    maker.fill()
    if model.compiled:
        smaller.compile_from_config(model.get_compile_config())
    return smaller


def _unbuilt(config: Any) -> Any:
    """A config without the shapes for which the layers in it were built."""
    if isinstance(config, dict):
        return {key: _unbuilt(value) for key, value in config.items() if key != "build_config"}
    return [_unbuilt(value) for value in config] if isinstance(config, list) else config


class _Maker:
    """Makes the layers of the smaller model, each once."""

    def __init__(
        self,
        structure: Structure,
        left: np.ndarray,
        weights: Mapping[int, np.ndarray],
        biases: Mapping[int, np.ndarray],
    ):
        self._structure, self._left = structure, left
        self._weights, self._biases = weights, biases
        self._made: dict[int, tuple[Any, Any]] = {}

    def count(self, ids: Ids) -> int:
        """How many of these channels are left."""
        return int(self._left[ids].sum())

    def model(self, model: Any, inputs: Any) -> Any:
        """A functional or Sequential model, from inputs of the shapes that are left."""
        graph = graph_of(model)
        border = self._structure.borders.get(id(graph))
        tensors = []
        for index, tensor in enumerate(inputs):
            shape = tensor.shape if border is None else (*tensor.shape[:-1], self.count(border[index]))
            tensors.append(keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name))
        if isinstance(model, keras.Sequential):
            layers = [self.operation(layer) for layer in model.layers]
            return type(model)([*tensors, *layers], name=model.name, trainable=model.trainable)
        given = keras.tree.pack_sequence_as(graph._inputs_struct, tensors)
        outputs = graph._run_through_graph(given, operation_fn=self.operation)
        return keras.Model(given, outputs, name=model.name, trainable=model.trainable)

    def operation(self, operation: Any) -> Any:
        """The smaller form of a layer; other operations serve both models."""
        if not isinstance(operation, keras.Layer):
            return operation
        if id(operation) not in self._made:
            graph = graph_of(operation)
            opened = graph is not None and id(graph) in self._structure.borders
            made = self.model(operation, graph.inputs) if opened else self._layer(operation)
            self._made[id(operation)] = (operation, made)
        return self._made[id(operation)][1]

    def _layer(self, layer: Any) -> Any:
        config = copy.deepcopy(layer.get_config())
        flow = self._structure.flows.get(id(layer))
        if flow is not None:
            flow.config(config, self.count)
        if id(layer) in self._biases:
            config["use_bias"] = True
        return type(layer).from_config(_unbuilt(config))

    def fill(self) -> None:
        """Gives every new layer the weights that are left of the old one's."""
        for old, new in self._made.values():
            flow = self._structure.flows.get(id(old))
            if flow is None and id(graph_of(old)) in self._structure.borders:
                continue
            values = {id(variable): variable.numpy() for variable in old.weights}
            values.update({known: self._weights[known] for known in values if known in self._weights})
            for axis in flow.axes if flow is not None else ():
                kept = np.flatnonzero(self._left[axis.ids])
                values[id(axis.variable)] = np.take(values[id(axis.variable)], kept, axis=axis.axis)
            given = [values[id(variable)] for variable in old.weights]
            if flow is not None and id(old) in self._biases:  # Keras puts a bias last
                given[len(given) - old.use_bias :] = [self._biases[id(old)][self._left[flow.outputs[0]]]]
            new.set_weights(given)

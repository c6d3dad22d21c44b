"""Model surgery: builds the smaller model of the same layers, without some channels."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from tfopt.keras_private import all_layers, compiled_settings, history_of, run_through_graph
from tfopt.models.graph import graph_of
from tfopt.models.layers import walk
from tfopt.models.requirements import check_not_quantized
from tfopt.sparsity.structured.channel_ids import Ids
from tfopt.sparsity.structured.dependency_graph import DependencyGraph


def cut(
    structure: DependencyGraph,
    drop: Iterable[int],
    weights: Mapping[int, np.ndarray] | None = None,
    biases: Mapping[int, np.ndarray] | None = None,
) -> keras.Model:
    """Builds the model without some groups of channels, with its weights; the original stays as it is.

    Args:
        structure: The dependency graph of the model, from `dependency_graph.read`.
        drop: The groups to remove.
        weights: New values for weights, in their old shapes, by the variable's identity.
        biases: Biases for layers that may have none yet, one for each output before the cut, by the layer's identity.

    Returns:
        A new model of the same layer classes and names, compiled as the old one if that was compiled.

    Raises:
        ModelError: Keras has quantized a layer to float8.
    """
    model = structure.model
    # Built again, a layer has its scales of float8 in another place among its weights.
    check_not_quantized(place for place in walk(model) if getattr(place.layer, "quantization_mode", None) == "float8")
    maker = _Maker(structure, structure.left(drop), weights or {}, biases or {})
    smaller = maker.model(model, graph_of(model).inputs)
    maker.fill()
    if settings := compiled_settings(model):
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        metrics = {name: keras.tree.map_structure(_anew, settings[name]) for name in ("metrics", "weighted_metrics")}
        smaller.compile(**{**settings, **metrics, "optimizer": optimizer})
    return smaller


def _anew(metric: Any) -> Any:
    """A fresh copy of a metric object; a name or a function as it is."""
    return type(metric).from_config(metric.get_config()) if isinstance(metric, keras.Metric) else metric


def _unbuilt(config: Any) -> Any:
    """A config without the entries of the old shape: build shapes of its layers, and arrays as initial values.

    A layer that serves as an activation keeps it, as the channels of an activation with weights stay.
    """
    if isinstance(config, dict):
        if config.get("class_name") == "Constant" and isinstance(config["config"]["value"], dict):
            return {"module": "keras.initializers", "class_name": "Zeros", "config": {}}
        kept = {key: value for key, value in config.items() if key != "build_config"}
        return {key: value if key == "activation" else _unbuilt(value) for key, value in kept.items()}
    return [_unbuilt(value) for value in config] if isinstance(config, list) else config


def _own(layer: Any, config: dict[str, Any]) -> dict[str, Any]:
    """The user's own functions and classes that a layer's config names; a lambda is given a name in the config."""
    found: dict[str, Any] = {}
    for part in all_layers(layer):
        for value in (part, *vars(part).values()):
            named = value if inspect.isfunction(value) else type(value)
            if hasattr(value, "get_config") or named is value:
                found[named.__name__] = named
    for key in config:
        value = vars(layer).get(key, vars(layer).get(f"_{key}"))
        if inspect.isfunction(value) and value.__name__ == "<lambda>":
            found[key], config[key] = value, {"module": "builtins", "class_name": "function", "config": key}
    return {name: value for name, value in found.items() if not value.__module__.startswith("keras.")}


def _input(tensor: Any, shape: tuple[int | None, ...]) -> Any:
    layer = history_of(tensor).operation
    made = type(layer).from_config({**layer.get_config(), "batch_shape": shape}).output
    made.name = tensor.name  # the layer's may be another
    return made


class _Maker:
    """Makes the layers of the smaller model, each once."""

    def __init__(
        self,
        structure: DependencyGraph,
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
        """The smaller functional or Sequential model, on inputs of the reduced shapes."""
        graph = graph_of(model)
        border = self._structure.borders.get(id(graph))
        tensors = []
        for index, tensor in enumerate(inputs):
            shape = tensor.shape
            if border is not None and len(shape) > 1:
                shape = (*shape[:-1], self.count(border[index]))
            tensors.append(_input(tensor, shape))
        if isinstance(model, keras.Sequential):
            layers = [self.operation(layer) for layer in model.layers]
            return type(model)([*tensors, *layers], name=model.name, trainable=model.trainable)
        given = keras.tree.pack_sequence_as(graph.input, tensors)
        outputs = run_through_graph(graph, given, self.operation)
        return keras.Model(given, outputs, name=model.name, trainable=model.trainable)

    def operation(self, operation: Any) -> Any:
        """The smaller form of a layer; operations without weights are shared by both models."""
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
        config = config if flow is None else _unbuilt(config)
        own = _own(layer, config)
        with keras.saving.custom_object_scope(own) if own else contextlib.nullcontext():
            return type(layer).from_config(config)

    def fill(self) -> None:
        """Sets the weights of every new layer to the remaining ones of the old layer."""
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

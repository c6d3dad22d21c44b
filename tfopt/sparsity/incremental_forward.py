"""Incremental inference: a functional model run one op at a time, so that its later part can be rerun cheaply.

The tensors that later ops take are kept: the frontier. After a weight changes, only the ops from the first one that
reads it are computed anew. Each op is compiled once.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from tfopt.data.arrays import Arrays, by_name, take
from tfopt.keras_private import mask_of, set_mask, standardized_inputs
from tfopt.models import signature
from tfopt.models.graph import graph_of, nodes_of
from tfopt.models.layers import inputs_told

Value = tuple[Any, Any]  # a tensor and its Keras mask or None


class IncrementalForward:
    """The state of a partial run of a model: the values that its remaining ops take (the frontier).

    Args:
        model: The model.
        graph: The functional model whose ops are those of `model`.
        x: Inputs `(samples, ...)`, or a dict of such arrays by input name.
    """

    def __init__(self, model: keras.Model, graph: Any, x: Arrays):
        self._model, self._graph, self._done = model, graph, 0
        slots = {id(tensor): number for number, tensor in enumerate(graph.inputs)}
        self._steps = list(_steps(graph, slots, itertools.count(len(slots))))
        self._outputs = [slots[id(tensor)] for tensor in graph.outputs]
        self._last = dict.fromkeys(self._outputs, len(self._steps))
        for number, step in enumerate(self._steps):
            self._last.update((slot, max(number, self._last.get(slot, 0))) for slot in step.takes.values())
        count = min(len(array) for array in by_name(x).values())
        size = signature.inference_batch(model)  # that of `keras_outputs`, so that the arithmetic is the same
        batches = [take(x, slice(start, start + size)) for start in range(0, count, size)]
        self._batches = [self._standardized(batch) for batch in batches]

    @classmethod
    def of(cls, model: keras.Model, x: Arrays) -> Self | None:
        """The frontier at the inputs; None where a call of the model does more than run a graph of ops."""
        graph = graph_of(model)
        plain = type(model).predict_step is keras.Model.predict_step and not model.run_eagerly
        return cls(model, graph, x) if graph is not None and plain else None

    @property
    def at_end(self) -> bool:
        """Whether no op is left."""
        return self._done == len(self._steps)

    def reads(self, variables: Iterable[keras.Variable]) -> bool:
        """Whether the next op reads one of these variables, itself or in a layer below it."""
        return any(id(variable) in self._steps[self._done].variables for variable in variables)

    def advance(self) -> None:
        """Runs the next op and drops the values that no later op takes."""
        for values in self._batches:
            self._run(self._done, values)
        self._done += 1

    def fork(self) -> Self:
        """Another run of the same ops, from the same place on: for a second set of weights."""
        other = copy.copy(self)
        vars(other)["_batches"] = [dict(values) for values in self._batches]
        return other

    @property
    def parts(self) -> int:
        """The number of batches."""
        return len(self._batches)

    def inputs_of(self, layer: Any, variables: Iterable[keras.Variable], part: int) -> list[Any]:
        """What goes into a layer at each of its calls from here on, for one of the batches; the run stays where it is.

        Args:
            layer: The layer.
            variables: Its variables: ops are run up to the last that reads them.
            part: Index of the batch.
        """
        own = {id(variable) for variable in variables}
        reading = [n for n in range(self._done, len(self._steps)) if own & self._steps[n].variables]
        values = dict(self._batches[part])
        with inputs_told({id(layer): layer}) as told:
            for number in range(self._done, reading[-1] + 1 if reading else self._done):
                self._run(number, values, eager=number in reading)
        return [value for _, value in told]

    def outputs(self) -> dict[str, np.ndarray]:
        """Runs the remaining ops with the current weights: outputs `(samples, ...)` by name."""
        parts: list[list[np.ndarray]] = []
        for kept in self._batches:
            values = dict(kept)
            for number in range(self._done, len(self._steps)):
                self._run(number, values)
            parts.append([np.asarray(values[slot][0]) for slot in self._outputs])
        flat = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return signature.named_outputs(self._model, keras.tree.pack_sequence_as(self._graph.output, flat))

    def _standardized(self, batch: Arrays) -> dict[int, Value]:
        tensors = standardized_inputs(self._graph, keras.tree.map_structure(keras.ops.convert_to_tensor, batch))
        return {slot: (tensor, None) for slot, tensor in enumerate(tensors)}

    def _run(self, number: int, values: dict[int, Value], eager: bool = False) -> None:
        step = self._steps[number]
        values.update(step.eagerly(values) if eager else step(values))
        for slot in {*step.takes.values(), *step.gives}:
            if self._last.get(slot, 0) <= number:
                del values[slot]


class GraphStep:
    """One op of a graph, compiled on its own.

    Args:
        node: The Keras node.
        takes: Slot of each input value, by the identity of the symbolic tensor.
        gives: Slots of the outputs.
    """

    def __init__(self, node: Any, takes: Mapping[int, int], gives: tuple[int, ...]):
        self.takes, self.gives = takes, gives
        self._operation, self._arguments = node.operation, node.arguments
        given = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
        own = (*getattr(node.operation, "variables", ()), *(v for v in given if isinstance(v, keras.Variable)))
        self.variables = frozenset(id(variable) for variable in own)
        self._compiled = tf.function(functools.partial(self._call))  # TensorFlow takes one code for one function

    def __call__(self, values: Mapping[int, Value]) -> dict[int, Value]:
        """Runs the op: from values by slot to outputs by slot."""
        return self._outputs(self._compiled, values)

    def eagerly(self, values: Mapping[int, Value]) -> dict[int, Value]:
        """Runs the op in Python, so that the values within can be looked at."""
        return self._outputs(self._call, values)

    def _outputs(self, run: Any, values: Mapping[int, Value]) -> dict[int, Value]:
        tensors, masks = run(*zip(*(values[slot] for slot in self.takes.values()), strict=True))
        return dict(zip(self.gives, zip(tensors, masks, strict=True), strict=True))

    def _call(self, tensors: tuple[Any, ...], masks: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        for tensor, mask in zip(tensors, masks, strict=True):
            if mask is not None:
                set_mask(tensor, mask)  # an attribute of the tensor, which does not outlive the function that set it
        args, kwargs = self._arguments.fill_in(dict(zip(self.takes, tensors, strict=True)))
        if isinstance(self._operation, keras.Layer):
            kwargs = {**kwargs, "training": False}
        outputs = keras.tree.flatten(self._operation(*args, **kwargs))
        return outputs, [mask_of(output) for output in outputs]


def _steps(graph: Any, slots: dict[int, int], numbers: Iterator[int]) -> Iterator[GraphStep]:
    """The ops of a graph in Keras's order of execution, ops of nested models in place.

    Args:
        graph: A functional model.
        slots: Slot of each symbolic tensor by its identity: those of the inputs; the others are added here.
        numbers: Free slots.
    """
    for node in nodes_of(graph):
        inner = _opened(node)
        if inner is None:
            slots.update((id(tensor), next(numbers)) for tensor in node.outputs)
            takes = {id(tensor): slots[id(tensor)] for tensor in node.input_tensors}
            yield GraphStep(node, takes, tuple(slots[id(tensor)] for tensor in node.outputs))
            continue
        below = {id(inner.inputs[0]): slots[id(node.input_tensors[0])]}
        yield from _steps(inner, below, numbers)
        pairs = zip(node.outputs, inner.outputs, strict=True)
        slots.update((id(outer), below[id(own)]) for outer, own in pairs)


def _opened(node: Any) -> Any:
    """The graph of a nested model that takes its one tensor unchanged; None for any other op or call."""
    graph = graph_of(node.operation)
    if graph is None or not len(graph.inputs) == len(node.arguments.args) == len(node.input_tensors) == 1:
        return None
    [outer], [own] = node.input_tensors, graph.inputs
    return graph if (outer.dtype, len(outer.shape)) == (own.dtype, len(own.shape)) else None

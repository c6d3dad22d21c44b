"""Two runs of a model side by side on the same samples: with the weights that it had, and with those that it has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.data.arrays import Arrays, by_name, take
from tfopt.models import signature
from tfopt.models.layers import Kernel, inputs_told
from tfopt.sparsity.incremental_forward import IncrementalForward

# Inputs of a layer before and after, one for each of its calls.
Pair = tuple[list[Any], list[Any]]


class PairedForward:
    """The inputs of layers in a model as it was and as it is, layer by layer in the order in which they run.

    A functional model is run one op at a time, so that all layers take two passes over the samples; any other runs as a
    whole for each layer.

    Args:
        model: A built model, whose weights change while this goes on, by `assign` alone.
        x: Samples `(samples, ...)`, or a dict of such arrays by input name.
    """

    def __init__(self, model: keras.Model, x: Arrays):
        self._model, self._x = model, x
        self._was: dict[int, tuple[Any, np.ndarray]] = {}
        self._after = IncrementalForward.of(model, x)
        self._before = self._after.fork() if self._after is not None else None

    @property
    def samples(self) -> int:
        """The number of samples."""
        return min(len(array) for array in by_name(self._x).values())

    def assign(self, variable: Any, value: np.ndarray) -> None:
        """Gives a variable a new value; the one that it had stays that of the model as it was."""
        self._was.setdefault(id(variable), (variable, np.asarray(variable).copy()))
        variable.assign(value)

    def was(self, variable: Any) -> np.ndarray:
        """The value that a variable had."""
        return self._was[id(variable)][1] if id(variable) in self._was else np.asarray(variable)

    def restore(self) -> None:
        """Gives every variable the value back that it had."""
        for variable, value in self._was.values():
            variable.assign(value)

    def changed(self) -> dict[int, np.ndarray]:
        """The new values of the variables that were assigned, by their identity."""
        return {key: np.asarray(variable).copy() for key, (variable, _) in self._was.items()}

    @contextlib.contextmanager
    def _as_it_was(self) -> Iterator[None]:
        now = [(variable, np.asarray(variable).copy()) for variable, _ in self._was.values()]
        self.restore()
        try:
            yield
        finally:
            for variable, value in now:
                variable.assign(value)

    def inputs(self, kernel: Kernel) -> Iterator[Pair]:
        """The inputs of a kernel's layer before and after, batch by batch; ask for layers in the order they run in."""
        layer, variables = kernel.place.layer, [kernel.variable]
        if self._before is None or self._after is None:
            yield from self._whole_runs(layer)
            return
        while not self._after.at_end and not self._after.reads(variables):
            with self._as_it_was():
                self._before.advance()
            self._after.advance()
        if self._after.at_end:
            return
        for part in range(self._after.parts):
            with self._as_it_was():
                before = self._before.inputs_of(layer, variables, part)
            yield before, self._after.inputs_of(layer, variables, part)

    def _whole_runs(self, layer: Any) -> Iterator[Pair]:
        for batch in _batches(self._x, signature.inference_batch(self._model)):
            with self._as_it_was():
                before = _inputs(self._model, layer, batch)
            yield before, _inputs(self._model, layer, batch)


def in_order(model: keras.Model, kernels: list[Kernel], x: Arrays) -> list[Kernel]:
    """Kernels in the order in which their layers first run, those of layers that do not run left out."""
    by_layer = {id(kernel.place.layer): kernel.place.layer for kernel in kernels}
    with inputs_told(by_layer) as told:
        model(take(x, slice(0, 1)), training=False)
    order = list(dict.fromkeys(key for key, value in told if not tf.is_symbolic_tensor(value)))
    found = [kernel for kernel in kernels if id(kernel.place.layer) in order]
    return sorted(found, key=lambda kernel: order.index(id(kernel.place.layer)))


def _batches(x: Arrays, size: int) -> Iterator[Arrays]:
    count = min(len(array) for array in by_name(x).values())
    yield from (take(x, slice(start, start + size)) for start in range(0, count, size))


def _inputs(model: keras.Model, layer: Any, batch: Arrays) -> list[Any]:
    with inputs_told({0: layer}) as told:
        model(batch, training=False)
    return [value for _, value in told]

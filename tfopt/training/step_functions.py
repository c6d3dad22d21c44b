"""The compiled functions of a training: their state made before they are traced, and no detour from step to step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfopt.keras_private import build_compiled_state, optionals_as_none, step_functions_by


@contextlib.contextmanager
def direct_steps(model: keras.Model, batches: tf.data.Dataset) -> Iterator[None]:
    """For the length of the block, `fit` and `evaluate` trace each step once and run it without a detour.

    Keras makes the variables of optimizer and metrics while it traces the first step, which TensorFlow then traces a
    second time; here they are there before. And it hands the logs of every step through a `tf.experimental.Optional`,
    whose ops run one by one outside of the graph and take longer than the step of a small model; here a step returns
    them. The graph of a step is the same, and so are its results to the bit.

    What does not run step by step on one device in a graph stays as Keras has it.

    Args:
        model: A compiled model.
        batches: The batches that `fit` is given.
    """
    strategy = model.distribute_strategy
    if model.run_eagerly or model.steps_per_execution > 1 or strategy is not tf.distribute.get_strategy():
        yield
        return
    _build(model, batches.element_spec)
    with step_functions_by(model, lambda step: _function(model, step)):
        yield


def _build(model: keras.Model, spec: Any) -> None:
    """Makes the variables of the optimizer, the loss and the metrics."""
    specs = tf.nest.flatten(spec)
    if not all(isinstance(one, tf.TensorSpec) and one.shape.rank is not None for one in specs):
        return
    batch = tf.nest.map_structure(lambda one: keras.KerasTensor(tuple(one.shape), one.dtype.name), spec)
    with contextlib.suppress(Exception):  # a step of a model's own need not fit; the first one makes them then
        build_compiled_state(model, batch)


def _function(model: keras.Model, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function that takes the next batch of an iterator and runs a step on it."""

    @tf.autograph.experimental.do_not_convert
    def on_batch(batch: Any) -> Any:
        return step(batch)

    compiled = optionals_as_none(model, tf.function(on_batch, reduce_retracing=True, jit_compile=model.jit_compile))

    @tf.function(reduce_retracing=True)
    @tf.autograph.experimental.do_not_convert
    def on_next(iterator: Any) -> Any:
        return compiled(iterator.get_next())

    def function(iterator: Any) -> Any:
        if isinstance(iterator, tf.data.Iterator):
            return on_next(iterator)
        return compiled(next(iter(iterator)))  # of `train_on_batch`, from a callback

    return function

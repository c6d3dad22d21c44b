"""Samples that are read batch by batch: `tf.data`, `keras.utils.PyDataset`, generators, data larger than memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.data.arrays import Arrays, Shapes, by_name, shape_inputs
from tfopt.data.batches import untuned
from tfopt.data.splits import CHUNK, Reading, Samples, Split
from tfopt.errors import DataError, TfoptError, is_machine_fault
from tfopt.user_code import describe

# A random choice of `count` samples is made among the first `POOL * count`.
POOL = 20


@dataclass(frozen=True)
class Stream(Samples):
    """Samples that are read batch by batch, as often as they are needed, and never all in memory.

    Batches of the size that a recipe asks for are made of the source's own. A training that was interrupted goes on
    to the same weights where an epoch's order depends on its number alone, as a function of the epoch can have it. A
    `tf.data.Dataset` that shuffles goes on in an order that depends on all that was read of it before in the process,
    and what a PyDataset changes of itself in `on_epoch_end` is not made again.

    Args:
        source: A `tf.data.Dataset` of batches `(x, y)`; a `keras.utils.PyDataset`, whose batches training reads in
            another order each epoch; or a function that gives either, or an iterable of batches. The function is
            called for each epoch, with its number (from 0) if it takes an argument. `x` and `y` are arrays
            `(batch, ...)`, or dicts of such by the model's input and output names.
        samples: How many samples make an epoch. Needed for generators and endless sources; otherwise they are counted
            in a pass of their own.
        shapes: The model's input shapes by name, without the batch; `shape_inputs` sets it.
    """

    source: Any
    samples: int | None = None
    shapes: Shapes = field(default_factory=dict)

    def __len__(self) -> int:
        return self.samples or self._counted

    @cached_property
    def y(self) -> Any:
        """The targets of all samples, read when they are first asked for."""
        return _joined(self.batches(CHUNK).map(lambda x, y: y).as_numpy_iterator())

    def few(self, count: int) -> Split:
        """The first samples."""
        size = min(count, CHUNK)
        batches = list(self.batches(size).take(-(-count // size)).as_numpy_iterator())
        return Split(_joined([x for x, _ in batches]), _joined([y for _, y in batches])).take(slice(0, count))

    def choose(self, count: int, *seed: int) -> Split:
        """A random choice among the first `20 * count` samples; only the chosen ones are kept in memory."""
        pool = min(POOL * count, len(self))
        rows = np.sort(np.random.default_rng(list(seed)).permutation(pool)[:count])
        start, found = 0, []
        for x, y in self.batches(CHUNK).as_numpy_iterator():
            own = rows[(rows >= start) & (rows < start + CHUNK)] - start
            found.append(Split(x, y).take(own))
            start += CHUNK
            if start > rows[-1]:
                break
        return Split(_joined([part.x for part in found]), _joined([part.y for part in found]))

    def inputs(self) -> tf.data.Dataset:
        """Batches of inputs."""
        return self.batches(CHUNK).map(lambda x, y: x).prefetch(1)

    def chunks(self) -> Iterator[Arrays]:
        """Inputs, a batch at a time."""
        yield from self.inputs().as_numpy_iterator()

    def batches(self, size: int) -> tf.data.Dataset:
        """The batches in the source's own order."""
        read = self._read().rebatch(size)
        if (count := self.samples) is None:
            return untuned(self._fit(read))

        def cut(index: Any, batch: Any) -> Any:
            return tf.nest.map_structure(lambda part: part[: tf.cast(count, tf.int64) - index * size], batch)

        return untuned(self._fit(read.take(-(-count // size)).enumerate().map(cut)))

    def training(self, reading: Reading) -> tf.data.Dataset:
        """Batches as the source gives them, from the first epoch to be read on."""
        size, first, epochs = reading.batch_size, reading.first_epoch, reading.epochs
        steps = -(-len(self) // size)
        options = tf.data.Options()  # every worker reads the whole stream, and trains on its share
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        if isinstance(self.source, tf.data.Dataset):
            read = self._read().rebatch(size).repeat().skip(first * steps).take((epochs - first) * steps)
        else:

            def batches() -> Iterator[Any]:
                for epoch in range(first, epochs):
                    of_epoch = self._read(epoch, reading.seed).rebatch(size).repeat().take(steps)
                    yield from untuned(of_epoch.with_options(options)).as_numpy_iterator()

            spec = tf.nest.map_structure(lambda s: tf.TensorSpec((None, *s.shape[1:]), s.dtype), self._spec)
            read = tf.data.Dataset.from_generator(batches, output_signature=spec)
        read = self._fit(read).with_options(options)
        if augment := reading.augment:
            seed = tf.constant(reading.seed, tf.int64)
            read = read.enumerate(first * steps).map(
                lambda step, batch: augment(batch[0], batch[1], tf.stack([seed, step]))
            )
        return untuned(read.prefetch(2))  # autotuned it would read further ahead the busier the machine is

    def fitted(self, shapes: Shapes) -> Stream:
        """The stream with a missing channel axis of 1 added to its inputs.

        Raises:
            DataError: An input is missing, or its samples have another shape.
        """
        if not shapes:
            return self
        shape_inputs(self._first[0], shapes)
        other = replace(self, shapes=shapes)
        known = {name: value for name, value in vars(self).items() if name in ("y", "_counted", "_first", "_spec")}
        vars(other).update(known)
        return other

    def check(self, name: str) -> None:
        """Checks the first batch; in validation and test also that each reading begins with it."""
        try:
            split = self.few(CHUNK)
        except tf.errors.OpError as error:  # such as a batch of another shape than the first
            if is_machine_fault(error):
                raise
            raise DataError(f"the {name} split cannot be read: {describe(error)}", ("data",)) from error
        split.check(name)
        again = None if name == "train" else self.few(CHUNK)
        if again and any(
            not np.array_equal(value, by_name(again.x)[key], equal_nan=True) for key, value in by_name(split.x).items()
        ):
            raise DataError(
                f"the {name} split comes in another order at each reading, and outputs are compared sample by sample. "
                "Shuffle the training split alone.",
                ("data",),
            )

    @cached_property
    def _counted(self) -> int:
        read = self._read()
        if read.cardinality() == tf.data.INFINITE_CARDINALITY or self._generates:
            raise DataError(
                "a stream of batches without an end does not say what an epoch is. Write tfopt.Stream(source, "
                "samples=...).",
                ("data",),
            )
        return int(read.map(lambda x, y: tf.shape(tf.nest.flatten(y)[0])[0]).reduce(0, lambda total, n: total + n))

    @cached_property
    def _generates(self) -> bool:
        return not isinstance(self._made(0), tf.data.Dataset | keras.utils.PyDataset)

    @cached_property
    def _first(self) -> tuple[Any, Any]:
        """The first batch `(x, y)`, as arrays."""
        made = self._made(0)
        try:
            batch = next(iter(made.as_numpy_iterator() if isinstance(made, tf.data.Dataset) else _items(made)), None)
        except Exception as error:
            raise DataError(f"the stream gives no first batch: {describe(error)}", ("data",)) from error
        if batch is None:
            raise DataError("a stream gave no batch. Give every split at least one sample.", ("data",))
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise DataError(f"a stream gives batches (x, y). Received: {_told(batch)}.", ("data",))
        x, y = (tf.nest.map_structure(np.asarray, part) for part in batch)
        for part, array in [("x", a) for a in tf.nest.flatten(x)] + [("y", a) for a in tf.nest.flatten(y)]:
            if array.ndim == 0 or array.dtype == object:
                raise DataError(f"a stream gives batches of samples, and {part} is {_told(array)}.", ("data",))
        return x, y

    @cached_property
    def _spec(self) -> tuple[Any, Any]:
        made = self._made(0)
        if isinstance(made, tf.data.Dataset):
            _ = self._first
            return made.element_spec
        return tf.nest.map_structure(lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), self._first)

    def _made(self, epoch: int) -> Any:
        """The batches of an epoch as the source gives them: a dataset, or an iterable."""
        if not callable(self.source):
            return self.source
        try:
            made = self.source(epoch) if _takes_epoch(self.source) else self.source()
        except Exception as error:
            if isinstance(error, TfoptError) or is_machine_fault(error):
                raise
            raise DataError(f"the function of a stream failed: {describe(error)}", ("data",)) from error
        if made is None or (not hasattr(made, "__iter__") and not hasattr(made, "__getitem__")):
            raise DataError(f"the function of a stream gives batches (x, y). Received: {_told(made)}.", ("data",))
        return made

    def _read(self, epoch: int | None = None, seed: int = 0) -> tf.data.Dataset:
        """The source's own batches: in its own order, or in that of an epoch."""
        made = self._made(epoch or 0)
        if isinstance(made, tf.data.Dataset):
            _ = self._spec
            return made
        if isinstance(made, keras.utils.PyDataset):
            return _from_keras(made, self._spec, None if epoch is None else [seed, epoch])
        return tf.data.Dataset.from_generator(
            lambda: (tuple(batch) for batch in self._made(epoch or 0)), output_signature=self._spec
        )

    def _fit(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.map(lambda x, y: (shape_inputs(x, self.shapes), y)) if self.shapes else dataset


def _takes_epoch(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _items(source: Any) -> Iterator[Any]:
    """The batches of a PyDataset, or of any iterable."""
    return (source[i] for i in range(source.num_batches)) if isinstance(source, keras.utils.PyDataset) else iter(source)


def _from_keras(source: keras.utils.PyDataset, spec: Any, order: list[int] | None) -> tf.data.Dataset:
    """The batches of a PyDataset, with as many threads as it has workers; shuffled by a seed if there is one."""
    count = source.num_batches
    if not count:
        raise DataError("a PyDataset needs a length: write its __len__, the batches of an epoch.", ("data",))
    flat = tf.nest.flatten(spec)

    def indices(_: Any) -> np.ndarray:
        if order is not None and order[1] > 0:
            source.on_epoch_end()
        return np.random.default_rng(order).permutation(count) if order is not None else np.arange(count)

    def fetch(index: Any) -> list[np.ndarray]:
        values = tf.nest.flatten(tuple(source[int(index)]))
        return [np.asarray(a, s.dtype.as_numpy_dtype) for a, s in zip(values, flat, strict=True)]

    def batch(index: Any) -> Any:
        parts = tf.numpy_function(fetch, [index], [s.dtype for s in flat])
        return tf.nest.pack_sequence_as(spec, [tf.ensure_shape(p, s.shape) for p, s in zip(parts, flat, strict=True)])

    begin = tf.data.Dataset.from_tensors(0).flat_map(
        lambda zero: tf.data.Dataset.from_tensor_slices(
            tf.ensure_shape(tf.numpy_function(indices, [zero], tf.int64), [count])
        )
    )
    return begin.map(batch, num_parallel_calls=max(1, source.workers), deterministic=True)


def _joined(parts: Any) -> Any:
    """Batches of arrays, or of dicts of arrays, concatenated."""
    found = list(parts)
    if isinstance(found[0], dict):
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return np.concatenate(found)


def _told(value: Any) -> str:
    return f"shape {value.shape}, {value.dtype}" if hasattr(value, "shape") else f"{type(value).__name__} {value!r:.60}"

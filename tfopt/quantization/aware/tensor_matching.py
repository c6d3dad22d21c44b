"""Matches the tensors of a `.tflite` to values inside of the Keras model that it was converted from.

The converter fuses, folds and renames, so names do not tell. Values do: model and file are run on the same samples, and
a tensor is the op of the model that gives the same numbers. An op is then named by its layer, and found again in any
other graph of the model, that of a training step among them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import ConversionError
from tfopt.models import signature
from tfopt.models.layers import call_replaced, operations, walk
from tfopt.output_capture import captured
from tfopt.quantization.calibration import values_of
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

# Two values match where their fingerprints differ by less than this share of their size.
CLOSE = 2e-3
# Of those, all within this factor of the closest, or closer than this, count as equal.
AS_CLOSE, EXACT = 10, 1e-6
# Number of batches of samples to compare on.
LOOKS = 3
# Number of batches with time steps left out, for files that SELECT: a step has the same values as the next behind a
# sequence, and what is selected is what was computed before it.
GAPS = 16
_INSIDE = re.compile(r"root/part\.(\d+)/")


@dataclass(frozen=True)
class Part:
    """A part of a model that computes: a layer, a bare operation between layers, or the model itself.

    Args:
        number: Index in `parts`.
        path: Path of layer names from the model, joined by `/`.
        computes: The Keras object with the `call`.
    """

    number: int
    path: str
    computes: Any


@dataclass(frozen=True)
class Point:
    """A value inside of a model.

    Args:
        part: The number of the part that computes it.
        call: Number of the call, from 0, for a value that the call returns; -1 for a value inside of the part.
        output: Index of the tensor among those that the call, or the op inside, returns.
        op: Name of the op below the part, for a value inside of it.
    """

    part: int
    call: int = -1
    output: int = 0
    op: str = ""


def parts(model: keras.Model) -> tuple[Part, ...]:
    """All parts of a model, outermost first."""
    places = (*walk(model), *operations(model))
    return (
        Part(0, model.name, model),
        *(Part(number, place.path, place.layer) for number, place in enumerate(places, start=1)),
    )


def scope_of(root: str, number: int) -> str:
    """The name scope in which a part computes; the slash at its end makes it absolute."""
    return f"{root}/part.{number}/"


@contextlib.contextmanager
def calls_replaced(whole: Sequence[Part], replaced: Callable[[Part, Any], Any]) -> Iterator[None]:
    """Gives every part another `call` for the length of the block.

    Args:
        whole: All parts of the model.
        replaced: Maps a part and its `call` to the new `call`.
    """
    with contextlib.ExitStack() as stack:
        for part in whole:
            stack.enter_context(call_replaced(part.computes, replaced(part, part.computes.call)))
        yield


def match(model: keras.Model, content: bytes, samples: Mapping[str, np.ndarray]) -> dict[str, Point]:
    """Matches each computed tensor of a float file to a point of the model.

    Args:
        model: The model; its recurrent layers in loops or not, as in the file.
        content: Bytes of a float32 `.tflite` of the model.
        samples: Inputs `(samples, ...)` by input name, several times the batch size of the file.

    Returns:
        Points by tensor name; tensors that the converter made up are left out.
    """
    chunks, marks = _of_file(content, samples)
    points, there = _of_model(model, chunks)
    found: dict[str, Point] = {}
    counts, there = there[:, 0, 0], there[:, :, 1:]
    sizes = np.abs(there).max(axis=2, keepdims=True)
    for name in marks[0]:
        here = np.stack([mark[name] for mark in marks])  # (chunks, numbers)
        rows = np.flatnonzero(counts == here[0, 0])
        if not rows.size:
            continue
        size = sizes[rows] + np.abs(here[:, 1:]).max(axis=1)[None, :, None]
        with np.errstate(invalid="ignore"):
            apart = (np.maximum(np.abs(there[rows] - here[:, 1:]) - 1e-9, 0) / (size + 1e-30)).max(axis=(1, 2))
        apart = np.where(np.isnan(apart), np.inf, apart)
        if apart.min() <= CLOSE:  # of small values a tanh is close as well
            same = rows[apart <= max(AS_CLOSE * apart.min(), EXACT)]
            found[name] = _chosen([points[i] for i in same], name)
    return found


def _of_file(
    content: bytes, samples: Mapping[str, np.ndarray]
) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """Batches of samples of the file's batch size, and for each the fingerprints of all tensors by name."""
    sizes = [max(int(d["shape_signature"][0]), 1) for d in Runner(content).inputs.values() if len(d["shape_signature"])]
    step, count = max(sizes, default=1), len(next(iter(samples.values())))
    numbers = [np.arange(start, start + step) % count for start in range(0, step * GAPS, step)]
    looks = -(-min(count, step * LOOKS) // step)
    chunks = [{name: array[chosen] for name, array in samples.items()} for chosen in numbers[:looks]]
    marks = values_of(content, chunks, _mark)
    if any(op.facts.selects for op in read(content).ops):
        generator = np.random.default_rng(0)
        gaps = [{n: _with_gaps(array, chosen, generator) for n, array in samples.items()} for chosen in numbers]
        with contextlib.suppress(ConversionError):  # a file need not take samples that nobody gave
            for chunk, found in zip(gaps, values_of(content, gaps, _mark), strict=True):
                if all(np.isfinite(mark).all() for mark in found.values()):
                    chunks.append(chunk)
                    marks.append(found)
    return chunks, marks


def _with_gaps(array: np.ndarray, chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Samples whose time steps are mixed from other samples, about half of them 0 as behind the end of a sequence.

    A step that no sample has is filled by another step of the samples.

    Args:
        array: All samples, `(samples, steps, ...)`.
        chosen: Indices of the samples to return.
        generator: Random generator.
    """
    found = array[chosen]
    if array.ndim < 2:
        return found
    alive: np.ndarray = np.any(array.reshape(*array.shape[:2], -1) != 0, axis=2)
    everywhere = np.argwhere(alive)
    if not len(everywhere):
        return found
    for new in found:
        for step in range(len(new)):
            here = everywhere[everywhere[:, 1] == step]
            new[step] = array[tuple(generator.choice(here if len(here) else everywhere))]
        there = generator.random(len(new)) < 0.5
        there[generator.integers(len(new))] = True  # never none of them
        new[~there] = 0
    return found


def _chosen(same: Sequence[tuple[Point, str]], name: str) -> Point:
    """Chooses among points of equal value: the one that the tensor is named after, else the last."""
    own = [point for point, op in same if any(part.startswith(op) for part in name.split(";"))]
    return own[-1] if own else same[-1][0]


def _mark(value: np.ndarray) -> np.ndarray:
    """The fingerprint of an array: a few numbers, its size and projections of its values."""
    flat = np.ravel(value).astype(np.float64)
    count, steps = np.float64(flat.size), np.arange(flat.size, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # what is not finite, or empty, has no mark that is close to another
        means = [np.sqrt((flat * flat).sum() / count), np.abs(flat).sum() / count, flat.sum() / count]
        projections = [(flat * np.sin(steps * step)).sum() / np.sqrt(count) for step in (0.7, 1.3)]
    return np.array([count, *means, *projections])


def _of_model(
    model: keras.Model, chunks: Sequence[Mapping[str, np.ndarray]]
) -> tuple[list[tuple[Point, str]], np.ndarray]:
    """Every float value that the model computes in inference, with the name of its op, in order.

    Returns:
        The points, and their fingerprints `(points, chunks, numbers)`.
    """
    whole = parts(model)
    returned: dict[str, Point] = {}
    calls = dict.fromkeys((part.number for part in whole), 0)
    points: list[tuple[Point, str]] = []

    def replaced(part: Part, original: Any) -> Any:
        def call(*args: Any, **rest: Any) -> Any:
            number, calls[part.number] = calls[part.number], calls[part.number] + 1
            with tf.name_scope(scope_of("root", part.number)):
                outputs = original(*args, **rest)
            for index, tensor in enumerate(keras.tree.flatten(outputs)):
                if tf.is_symbolic_tensor(tensor):
                    returned.setdefault(tensor.name, Point(part.number, number, index))
            return outputs

        return call

    @tf.autograph.experimental.do_not_convert
    def function(inputs: Mapping[str, Any]) -> Any:
        signature.call(model, inputs)
        values = []
        for operation in tf.compat.v1.get_default_graph().get_operations():
            for tensor in operation.outputs:
                point = returned.get(tensor.name)
                if point is None or _read_within(tensor, point.part):
                    point = _inside(operation.name, tensor.name)
                if point is not None and tensor.dtype.is_floating and tensor.shape.rank is not None:
                    points.append((point, f"{whole[point.part].path}/{_INSIDE.sub('', operation.name)}"))
                    values.append(tf.cast(tensor, tf.float32))
        return values

    with captured(), calls_replaced(whole, replaced):
        traced = tf.function(function).get_concrete_function(input_signature(model, chunks[0]))
    marks = [[_mark(value.numpy()) for value in traced(_tensors(chunk))] for chunk in chunks]
    return points, np.stack(marks, axis=1)


def input_signature(
    model: keras.Model, samples: Mapping[str, np.ndarray], batch: int | None = None
) -> dict[str, tf.TensorSpec]:
    """The input signature as `fit` calls a model: any number of samples, unless the model has it fixed.

    For a single sample Keras builds another graph: it then takes a sum of two values for the addition of a bias.

    Args:
        model: The model.
        samples: Inputs `(samples, ...)` by input name.
        batch: Samples that it is called with, if not all of them. A model that was built by calling it has the number
            of that call, which means nothing.
    """
    batch = len(next(iter(samples.values()))) if batch is None else batch
    fixed = {t.name: t.shape[0] for t in getattr(model, "inputs", None) or () if t.shape[0] == batch}
    return {
        name: tf.TensorSpec([fixed.get(name), *array.shape[1:]], tf.as_dtype(array.dtype), name)
        for name, array in samples.items()
    }


def _tensors(chunk: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: tf.constant(array) for name, array in chunk.items()}


def _read_within(tensor: Any, part: int) -> bool:
    """Whether the part itself also reads a value that it returns, as the state of an LSTM."""
    readers = (_INSIDE.match(operation.name) for operation in tensor.consumers())
    return any(reader is not None and int(reader[1]) == part for reader in readers)


def _inside(operation: str, tensor: str) -> Point | None:
    """The point of a value inside of a part."""
    inside = _INSIDE.match(operation)
    if inside is None:
        return None
    return Point(int(inside[1]), output=int(tensor.rsplit(":", 1)[1]), op=operation[inside.end() :])

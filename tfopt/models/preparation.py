"""What a Keras model does to its inputs before anything else, in words: scaling, normalizing, resizing, look-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfopt.models.graph import graph_of, nodes_of

# Statistics of so many features are written out; of more, their ends.
_WRITTEN = 4


def preparation(model: Any) -> dict[str, tuple[str, ...]]:
    """The first steps of a model by input name, each in a few words; an input without any is left out.

    Args:
        model: A Keras model; of one whose call is its own code nothing is known.
    """
    graph = graph_of(model)
    if graph is None:
        return {}
    nodes = nodes_of(graph)
    found = {tensor.name: tuple(_steps(tensor, nodes)) for tensor in graph.inputs}
    return {name: steps for name, steps in found.items() if steps}


def _steps(tensor: Any, nodes: list[Any]) -> Iterator[str]:
    """The words for the layers that a tensor goes through one after the other, as far as they prepare it."""
    while True:
        readers = [node for node in nodes if any(taken is tensor for taken in node.input_tensors)]
        if len(readers) != 1 or len(readers[0].input_tensors) != 1:
            return
        operation = readers[0].operation
        inner = graph_of(operation) if isinstance(operation, keras.Model) else None
        if inner is not None:
            inside = nodes_of(inner)
            yield from _steps(inner.inputs[0], inside)
            if not all(_words(node.operation) or _passes(node.operation) for node in inside):
                return
        else:
            words = _words(operation)
            if words is None and not _passes(operation):
                return
            if words:
                yield f"{words} ({type(operation).__name__})"
            if isinstance(operation, keras.layers.Embedding):
                return
        tensor = readers[0].output_tensors[0]


def _passes(operation: Any) -> bool:
    """Whether an operation leaves the values as they are when the model is not trained."""
    kept = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Permute, keras.layers.Dropout)
    names = ("Random", "GaussianNoise", "GaussianDropout", "Identity", "ExpandDims", "Squeeze")
    return isinstance(operation, kept) or type(operation).__name__.startswith(names)


def _words(operation: Any) -> str | None:
    describe = _DESCRIBED.get(type(operation).__name__)
    return describe(operation) if describe else None


def _rescaling(layer: Any) -> str:
    scale, offset = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    words = f"multiplies by {_numbers(scale)}"
    if scale.ndim == 0 and scale and abs(1 / scale - round(1 / float(scale), 3)) < 1e-9 and abs(scale) < 1:
        words = f"divides by {1 / float(scale):.7g}"
    return words + (f" and adds {_numbers(offset)}" if np.any(offset) else "")


def _normalization(layer: Any) -> str:
    mean = np.ravel(np.asarray(layer.mean, np.float64))
    deviation = np.sqrt(np.ravel(np.asarray(layer.variance, np.float64)))
    if layer.invert:
        return f"multiplies by {_numbers(deviation)} and adds {_numbers(mean)}"
    return f"subtracts the mean {_numbers(mean)} and divides by the standard deviation {_numbers(deviation)}"


def _numbers(values: np.ndarray) -> str:
    flat = np.unique(values) if np.unique(values).size == 1 else np.ravel(values)
    if flat.size == 1:
        return f"{float(flat[0]):.7g}"
    if flat.size <= _WRITTEN:
        return f"({', '.join(f'{value:.5g}' for value in flat)})"
    return f"of each of {flat.size} features, {flat.min():.4g} to {flat.max():.4g},"


def _resizing(layer: Any) -> str:
    return f"resizes to {layer.height}x{layer.width}, {layer.interpolation}"


_DESCRIBED: dict[str, Callable[[Any], str]] = {
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Resizing": _resizing,
    "CenterCrop": lambda layer: f"cuts {layer.height}x{layer.width} out of the middle",
    "ZeroPadding2D": lambda layer: f"pads with zeros by {layer.padding}",
    "Discretization": lambda layer: f"takes the bin of {len(layer.bin_boundaries or ()) + 1}",
    "CategoryEncoding": lambda layer: f"encodes categories of {layer.num_tokens} as {layer.output_mode}",
    "Embedding": lambda layer: f"looks up ids from 0 to {layer.input_dim - 1}",
    "MelSpectrogram": lambda layer: f"computes {layer.num_mel_bins} mel bands at {layer.sampling_rate:g} Hz",
}

"""Constant channels: those with the same value for every input of a model, at every position, and that value.

Layers with kernels are looked at by their weights, so that a channel counts as constant only where nothing that varies
reaches it. What has no kernel is run on the constants themselves: where positions then differ, as at the borders of a
zero padding, a channel is not constant any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.sparsity.structured import shape_rules
from tfopt.sparsity.structured.dependency_graph import ChannelStream, DependencyGraph
from tfopt.sparsity.structured.layer_rules import mixes
from tfopt.sparsity.structured.propagation import TABLE, Call, known_as

# The value of each channel, NaN where it varies: `(channels,)` float64.
Values = np.ndarray
# The size of open dimensions when an operation is run.
_OPEN = 5
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
_SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
_DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
_MOVERS = ("Flatten", "Reshape", "Permute", "RepeatVector", "Concatenate")


@dataclass(frozen=True)
class Linear:
    """The linear part of a layer: what it computes before bias and activation.

    Args:
        matrix: Weights `(taps, inputs, outputs)`, of grouped and separable convolutions written out in full.
        padded: Whether zero padding makes the borders differ.
    """

    matrix: np.ndarray
    padded: bool


def constants(structure: DependencyGraph, tolerance: float = 0.0) -> list[tuple[list[Values], list[Values]]]:
    """The constant channels of the tensors that each call takes and gives.

    Args:
        structure: The dependency graph of the model.
        tolerance: Weights of this magnitude and below count as zero where their input varies.

    Returns:
        For each of `structure.calls` the values of its inputs and of its outputs.
    """
    known: dict[ChannelStream, Values] = {}
    found = []
    for call, (inputs, outputs) in zip(structure.calls, structure.tensors, strict=True):
        taken = [known.get(stream, _varying(stream)) for stream in inputs]
        passed = id(call.operation) in structure.flows
        given = (_given(call, taken, tolerance) if passed else None) or [_varying(stream) for stream in outputs]
        known.update(zip(outputs, given, strict=True))
        found.append((taken, given))
    return found


def linear(layer: Any) -> Linear | None:
    """The linear part of a layer; None where there is none, or where it differs between positions."""
    kind = known_as(layer)
    if kind == "Dense":
        return Linear(_array(layer.kernel)[None], padded=False)
    if kind in CONVOLUTIONS:
        kernel, padded = _taps(layer.kernel), layer.padding != "valid" and math.prod(layer.kernel_size) > 1
        if layer.groups == 1:
            return Linear(kernel, padded)
        taps, part, filters = kernel.shape
        whole = np.zeros((taps, part * layer.groups, filters))
        for group, own in enumerate(np.split(np.arange(filters), layer.groups)):
            whole[:, group * part : (group + 1) * part, own] = kernel[..., own]
        return Linear(whole, padded)
    if kind in _TRANSPOSED:
        alone = math.prod(layer.kernel_size) == math.prod(layer.strides) == 1
        return Linear(_taps(layer.kernel).transpose(0, 2, 1), not alone)
    if kind in _SEPARABLE:
        spread, mixed = _taps(layer.depthwise_kernel), _array(layer.pointwise_kernel)
        mixed = mixed.reshape(*spread.shape[1:], -1)
        padded = layer.padding != "valid" and len(spread) > 1
        return Linear(np.einsum("tcm,cmo->tco", spread, mixed), padded)
    return None


def _varying(stream: ChannelStream) -> Values:
    return np.full(len(stream.ids), np.nan)


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy(), np.float64)


def _taps(variable: Any) -> np.ndarray:
    """A kernel with its positions in one axis: `(taps, ., .)`."""
    values = _array(variable)
    return values.reshape(-1, *values.shape[-2:])


def _given(call: Call, taken: Sequence[Values], tolerance: float) -> list[Values] | None:
    kind, layer = known_as(call.operation), call.operation
    if kind == "BatchNormalization":
        return [_normalized(layer, taken[0], tolerance)]
    if kind in _DEPTHWISE:
        return [_activated(layer, _spread(layer, taken[0], tolerance))]
    if (part := linear(layer)) is not None:
        return [_activated(layer, _mixed(layer, part, taken[0], tolerance))]
    if kind == "PReLU" or (isinstance(kind, str) and TABLE[kind].__module__ == shape_rules.__name__):
        return [_run(call, taken)]
    return None


def _mixed(layer: Any, part: Linear, values: Values, tolerance: float) -> Values:
    varies = np.isnan(values) | (part.padded & (values != 0))
    reached = (np.abs(part.matrix[:, varies]) > tolerance).any(axis=(0, 1))
    out = np.where(varies, 0, values) @ part.matrix.sum(axis=0)
    return np.where(reached, np.nan, out + (_array(layer.bias) if layer.use_bias else 0))


def _spread(layer: Any, values: Values, tolerance: float) -> Values:
    kernel = _taps(layer.kernel)  # (taps, channels, multiplier)
    varies = np.isnan(values) | ((layer.padding != "valid") & (len(kernel) > 1) & (values != 0))
    reached = varies[:, None] & (np.abs(kernel) > tolerance).any(axis=0)
    out = (np.where(varies, 0, values)[:, None] * kernel.sum(axis=0)).reshape(-1)
    return np.where(reached.reshape(-1), np.nan, out + (_array(layer.bias) if layer.use_bias else 0))


def _normalized(layer: Any, values: Values, tolerance: float) -> Values:
    scale = _array(layer.gamma) if layer.scale else np.ones(len(values))
    shift = _array(layer.beta) if layer.center else np.zeros(len(values))
    out = (values - _array(layer.moving_mean)) / np.sqrt(_array(layer.moving_variance) + layer.epsilon) * scale + shift
    return np.where(np.isnan(values) & (np.abs(scale) <= tolerance), shift, out)


def _activated(layer: Any, values: Values) -> Values:
    if mixes(layer):
        return np.full(len(values), np.nan)
    return _applied(layer.activation, values)


def _applied(function: Callable[[Any], Any], values: Values) -> Values:
    varies = np.isnan(values)
    out = np.asarray(function(tf.constant(np.where(varies, 0, values), tf.float32)), np.float64)
    return np.where(varies | ~np.isfinite(out), np.nan, out)


def _run(call: Call, taken: Sequence[Values]) -> Values:
    """Runs an operation without kernels on constants, and finds the outputs that are equal at every position."""
    pairs = list(zip(call.inputs, taken, strict=True))
    out = _called(call, {id(tensor): _filled(tensor, np.nan_to_num(values)) for tensor, values in pairs})
    if call.kind in _MOVERS:
        marks = _called(call, {id(tensor): _filled(tensor, np.isnan(values)) for tensor, values in pairs})
        varies = marks.any(axis=0)
    else:
        varies = np.any([np.broadcast_to(np.isnan(values), out.shape[-1:]) for values in taken], axis=0)
    if call.kind == "Multiply":
        varies = varies & ~np.any([np.broadcast_to(values == 0, out.shape[-1:]) for values in taken], axis=0)
    same = np.isclose(out, out[0], rtol=1e-5, atol=1e-7).all(axis=0)
    return np.where(varies | ~same | ~np.isfinite(out[0]), np.nan, out[0])


def _filled(tensor: Any, values: np.ndarray) -> Any:
    shape = [1, *(size or _OPEN for size in tensor.shape[1:])]
    return tf.cast(tf.constant(np.broadcast_to(np.asarray(values, np.float32), shape)), tensor.dtype)


def _called(call: Call, tensors: dict[int, Any]) -> np.ndarray:
    """The output of an operation, `(positions, channels)`."""
    args, kwargs = call.node.arguments.fill_in(tensors)
    if isinstance(call.operation, keras.Layer) and "training" in call.operation.call_signature_parameters:
        kwargs["training"] = False
    out = np.asarray(tf.cast(call.operation(*args, **kwargs), tf.float32), np.float64)
    return out.reshape(-1, out.shape[-1])

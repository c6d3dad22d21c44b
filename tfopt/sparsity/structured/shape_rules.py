"""Channel propagation through layers without weights: activations, pooling, merges, and changes of shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfopt.sparsity.structured.channel_ids import Channels, Ids
from tfopt.sparsity.structured.layer_rules import mixes
from tfopt.sparsity.structured.propagation import Call, Count, Flow, rule

_ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "ELU")
_NOISE = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout")
_POOLING = tuple(
    f"{prefix}{what}Pooling{rank}D" for prefix in ("", "Global") for what in ("Max", "Average") for rank in (1, 2, 3)
)
_SPACE = tuple(f"{what}{rank}D" for what in ("ZeroPadding", "Cropping", "UpSampling") for rank in (1, 2, 3))
_OTHERS = ("Identity", "ActivityRegularization", "AlphaDropout", "Masking")
_OPERATIONS = (
    *("Relu", "Relu6", "Silu", "Sigmoid", "HardSigmoid", "HardSilu", "Gelu", "Tanh", "Elu", "Selu", "LeakyRelu"),
    *("Softplus", "Softsign", "Cast", "StopGradient", "Absolute", "Square", "Sqrt", "Exp", "Negative", "Clip"),
)


@rule(*_ACTIVATIONS, *_NOISE, *_POOLING, *_SPACE, *_OTHERS, *_OPERATIONS)
def _through(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    if mixes(call.operation):
        return "its activation is over all channels, or of a user's own"
    if any(np.ndim(getattr(call.operation, bound, 0)) for bound in ("x_min", "x_max")):
        return "it has a bound to a channel"
    if (getattr(call.operation, "noise_shape", None) or (None,))[-1] not in (None, 1):
        return "its noise has a shape of its own"
    if call.kind == "Masking":
        return "it looks at all channels"
    return Flow((inputs[0],))


@rule("Rescaling")
def _rescaling(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    layer = call.operation
    return Flow((inputs[0],)) if np.ndim(layer.scale) == np.ndim(layer.offset) == 0 else "it has a factor to a channel"


@rule("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def _merge(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    if not call.inputs or _constants(call):
        return "it has a constant with an axis of its own"
    if hasattr(call.operation, "axis"):
        return "it averages along an axis"  # an operation of the name of the layer Average
    widest = max(inputs, key=len)
    for ids in inputs:
        if len(ids) == len(widest):
            channels.tie(widest, ids)
        elif len(ids) == 1:
            channels.keep(ids, f"{call.path} spreads it over all channels")
        else:
            return "its inputs have different numbers of channels"
    return Flow((widest,))


def _constants(call: Call) -> bool:
    """Whether an operation has a constant array as an argument that is not a single number."""
    given = keras.tree.flatten((call.node.arguments.args, call.node.arguments.kwargs))
    beside = [item for item in given if item is not None and not isinstance(item, keras.KerasTensor | str)]
    return any(np.ndim(item) > 0 for item in beside)


@rule("Concatenate")
def _concatenate(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    if _constants(call):
        return "it has a constant beside its inputs"
    axis, rank = call.operation.axis, len(call.outputs[0].shape)
    if axis % rank == rank - 1:
        return Flow((np.concatenate(list(inputs)),))
    for ids in inputs[1:]:
        channels.tie(inputs[0], ids)
    return Flow((inputs[0],))


@rule("Flatten")
def _flatten(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    return _reshaped(call, inputs[0])


@rule("Reshape")
def _reshape(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    flow = _reshaped(call, inputs[0])
    if isinstance(flow, str) or not hasattr(call.operation, "target_shape"):
        return flow if isinstance(flow, str) else "it is an operation with a fixed shape: use the layer Reshape"
    [out] = flow.outputs
    front = tuple(call.outputs[0].shape[1:-1])

    def config(values: dict[str, Any], count: Count) -> None:
        values["target_shape"] = (*front, count(out))

    return Flow((out,), config=config)


def _reshaped(call: Call, ids: Ids) -> Flow | str:
    """The channel flow through a change of shape, where the last axis alone tells the channel of a value."""
    before, after = (tuple(tensor.shape[1:]) for tensor in (call.inputs[0], call.outputs[0]))
    if not after or None in (*before, *after):
        return "its shape is open"
    if not before:
        return "it makes an axis out of none"
    whole = np.broadcast_to(ids, before).reshape(after)
    rows = whole.reshape(-1, after[-1])
    return Flow((rows[0].copy(),)) if (rows == rows[0]).all() else "it moves channels to other axes than the last"


@rule("Permute")
def _permute(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    dims = call.operation.dims
    return Flow((inputs[0],)) if dims[-1] == len(dims) else "it moves channels to another axis"


@rule("RepeatVector")
def _repeat(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow:
    return Flow((inputs[0],))

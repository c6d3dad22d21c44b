"""Channel propagation through layers with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfopt.sparsity.structured.channel_ids import Channels, Ids
from tfopt.sparsity.structured.propagation import Axis, Call, Count, Flow, axes, flow_of, rule, set_count

# Activations that look at each value alone, by the name of the function or of the layer that serves as one.
_ALONE = frozenset(
    (
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "sigmoid"),
        *("log_sigmoid", "sparse_sigmoid", "hard_sigmoid", "hard_silu", "hard_swish", "tanh", "hard_tanh"),
        *("tanh_shrink", "soft_shrink", "hard_shrink", "threshold", "softplus", "sparse_plus", "squareplus"),
        *("softsign", "exponential", "ReLU", "LeakyReLU", "ELU"),
    )
)


def mixes(layer: Any) -> bool:
    """Whether an activation of the layer mixes channels, or may as it is a user's own."""
    given = (getattr(layer, name, None) for name in ("activation", "recurrent_activation"))
    return any(each is not None and getattr(each, "__name__", type(each).__name__) not in _ALONE for each in given)


def _made(call: Call, channels: Channels, out: Ids) -> Ids:
    if mixes(call.operation):
        channels.keep(out, f"the activation of {call.path} is over all of them, or of a user's own")
    return out


@rule("Dense")
def _dense(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow:
    layer = call.operation
    out = _made(call, channels, channels.new(layer.units))
    kernel = axes("takes", inputs[0], (layer.kernel, 0)) + axes("makes", out, (layer.kernel, 1), (layer.bias, 0))
    return Flow((out,), kernel, set_count(units=out))


@rule("Conv1D", "Conv2D", "Conv3D")
def _conv(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    layer, rank = call.operation, call.operation.rank
    out, taken = channels.new(layer.filters), inputs[0]
    if layer.groups > 1:  # each group gives up the channels at the same places
        for ids in (out, taken):
            parts = ids.reshape(layer.groups, -1)
            for part in parts[1:]:
                channels.tie(parts[0], part)
        taken = taken[: len(taken) // layer.groups]
    _made(call, channels, out)
    kernel = layer.kernel
    cut = axes("takes", taken, (kernel, rank)) + axes("makes", out, (kernel, rank + 1), (layer.bias, 0))
    return Flow((out,), cut, set_count(filters=out))


@rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _transposed(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow:
    layer, rank = call.operation, call.operation.rank
    out = _made(call, channels, channels.new(layer.filters))
    cut = axes("takes", inputs[0], (layer.kernel, rank + 1))
    return Flow((out,), cut + axes("makes", out, (layer.kernel, rank), (layer.bias, 0)), set_count(filters=out))


@rule("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow:
    layer = call.operation
    out = _made(call, channels, np.repeat(inputs[0], layer.depth_multiplier))
    return Flow((out,), axes("scales", inputs[0], (layer.kernel, layer.rank)) + axes("scales", out, (layer.bias, 0)))


@rule("SeparableConv1D", "SeparableConv2D")
def _separable(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow:
    layer, rank = call.operation, call.operation.rank
    out = _made(call, channels, channels.new(layer.filters))
    between = np.repeat(inputs[0], layer.depth_multiplier)
    spread, mixed = layer.depthwise_kernel, layer.pointwise_kernel
    cut = axes("scales", inputs[0], (spread, rank)) + axes("takes", between, (mixed, rank))
    return Flow((out,), cut + axes("makes", out, (mixed, rank + 1), (layer.bias, 0)), set_count(filters=out))


@rule("BatchNormalization", "LayerNormalization", "RMSNormalization")
def _normalization(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    layer, rank = call.operation, len(call.outputs[0].shape)
    over = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if [axis % rank for axis in over] != [rank - 1]:
        return "it normalizes along other axes than the last"
    return Flow((inputs[0],), axes("scales", inputs[0], *((variable, 0) for variable in layer.weights)))


@rule("GroupNormalization")
def _group_normalization(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    layer = call.operation
    if layer.axis not in (-1, len(call.outputs[0].shape) - 1):
        return "it normalizes along other axes than the last"
    groups = len(inputs[0]) if layer.groups == -1 else layer.groups
    if groups == len(inputs[0]):
        flow = Flow((inputs[0],), axes("scales", inputs[0], *((variable, 0) for variable in layer.weights)))
        return flow if layer.groups == -1 else Flow(flow.outputs, flow.axes, set_count(groups=inputs[0]))
    parts = inputs[0].reshape(groups, -1)
    for part in parts[1:]:
        channels.tie(parts[0], part)
    return Flow((inputs[0],), axes("scales", inputs[0], *((variable, 0) for variable in layer.weights)))


@rule("PReLU")
def _prelu(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    alpha = call.operation.alpha
    if alpha.shape[-1] != len(inputs[0]):
        return Flow((inputs[0],))
    return Flow((inputs[0],), axes("scales", inputs[0], (alpha, len(alpha.shape) - 1)))


@rule("Embedding")
def _embedding(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow:
    layer = call.operation
    channels.keep(inputs[0], f"{call.path} takes them as numbers of entries")
    out = channels.new(layer.output_dim)
    return Flow((out,), axes("makes", out, (layer.embeddings, 1)), set_count(output_dim=out))


@rule("LSTM", "GRU", "SimpleRNN")
def _recurrent(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow:
    layer, cell = call.operation, call.operation.cell
    out = _made(call, channels, channels.new(layer.units))
    gates = cell.kernel.shape[-1] // layer.units
    wide = np.tile(out, gates)
    for tensor, state in zip(call.inputs[1:], inputs[1:], strict=True):
        if not _is_mask(tensor):
            channels.tie(out, state)
    cut = axes("takes", inputs[0], (cell.kernel, 0)) + axes("takes", out, (cell.recurrent_kernel, 0))
    bias = cell.bias
    cut += axes("makes", wide, (cell.kernel, 1), (cell.recurrent_kernel, 1))
    cut += axes("makes", wide, (bias, len(bias.shape) - 1)) if bias is not None else ()
    return Flow((out,) * len(call.outputs), cut, set_count(units=out))


def _is_mask(tensor: Any) -> bool:
    return keras.backend.standardize_dtype(tensor.dtype) == "bool"


@rule("Bidirectional")
def _bidirectional(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    layer = call.operation
    if layer.return_state or not all(_is_mask(tensor) for tensor in call.inputs[1:]):
        return "it hands states over"
    ways = []
    for inner in (layer.forward_layer, layer.backward_layer):
        flow = flow_of(Call(inner, call.path, call.inputs, call.outputs[:1]), inputs, channels)
        if isinstance(flow, str):
            return flow
        ways.append(flow)
    [[forward], [backward]] = [way.outputs for way in ways]
    if len(forward) != len(backward):
        return "its two ways have not the same size, which Keras takes for granted"
    channels.tie(forward, backward)  # Keras tells the shape of both from the one
    outputs = {"concat": (np.concatenate([forward, backward]),), None: (forward, backward)}

    def config(values: dict[str, Any], count: Count) -> None:
        # Keras writes one layer where the other is its mirror, which they need not be any more.
        values.setdefault("backward_layer", keras.saving.serialize_keras_object(layer.backward_layer))
        for way, name in zip(ways, ("layer", "backward_layer"), strict=True):
            way.config(values[name]["config"], count)

    return Flow(outputs.get(layer.merge_mode, (forward,)), (*ways[0].axes, *ways[1].axes), config)


@rule("TimeDistributed")
def _time_distributed(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    inner = call.operation.layer
    tensors = [
        tuple(keras.KerasTensor((t.shape[0], *t.shape[2:]), t.dtype) for t in side)
        for side in (call.inputs, call.outputs)
    ]
    flow = flow_of(Call(inner, call.path, *tensors), inputs, channels)
    if isinstance(flow, str):
        return flow
    return Flow(flow.outputs, flow.axes, lambda values, count: flow.config(values["layer"]["config"], count))


@rule("MultiHeadAttention")
def _attention(call: Call, inputs: Sequence[Ids], channels: Channels) -> Flow | str:
    """Channels that can be removed are the heads, and the channels of the output."""
    layer, last = call.operation, call.operation.output_dense
    if call.node is None or len(call.outputs) > 1 or len(last.kernel.shape) != 3:
        return "it gives away more than one output of one axis"
    arguments = call.node.arguments
    given = dict(zip(("query", "value", "key"), arguments.args, strict=False)) | arguments.kwargs
    by_tensor = {id(tensor): ids for tensor, ids in zip(call.inputs, inputs, strict=True)}
    value = by_tensor[id(given["value"])]
    query, key = by_tensor[id(given["query"])], by_tensor.get(id(given.get("key")), value)
    roles = {id(given.get(name)) for name in ("query", "value", "key")}
    for tensor, ids in by_tensor.items():
        if tensor not in roles:
            channels.keep(ids, f"{call.path} takes them as a mask")
    heads, out = channels.new(layer.num_heads, single=True), channels.new(last.kernel.shape[-1])
    cut: tuple[Axis, ...] = ()
    for dense, ids in ((layer.query_dense, query), (layer.key_dense, key), (layer.value_dense, value)):
        cut += axes("takes", ids, (dense.kernel, 0)) + axes("makes", heads, (dense.kernel, 1), (dense.bias, 0))
    cut += axes("takes", heads, (last.kernel, 0)) + axes("makes", out, (last.kernel, 2), (last.bias, 0))

    def config(values: dict[str, Any], count: Count) -> None:
        values.update(num_heads=count(heads), output_shape=(count(out),))

    return Flow((out,), cut, config)

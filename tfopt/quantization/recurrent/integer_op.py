"""The int8 form of TFLite's op of a whole LSTM, in a file whose other ops a quantizer has put in integers.

Data, hidden state and output are in int8, every kernel in int8 with one symmetric scale, biases in int32, and the cell
state in int16 at a scale that is a power of two. The hidden state is the output, and has its grid.

References:
    Li and Alvarez, On the quantization of recurrent neural networks, arXiv:2101.05453; the kernel,
    tensorflow/lite/kernels/unidirectional_sequence_lstm.cc in github.com/tensorflow/tensorflow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.errors import ConversionError
from tfopt.quantization.recurrent import gate_kernels
from tfopt.quantization.recurrent.integer_wiring import Grid, Wiring, grid_of
from tfopt.tflite.ops import LSTM_INPUTS

# Integer bits of the cell state: LiteRT's tanh of it is made for these, and gives garbage at others.
FEWEST_BITS, MOST_BITS = 0, 6
# The tensors of intermediate results before that of the hidden state, which layer normalization alone would have.
_WITHOUT_USE = 4


def to_integers(wiring: Wiring, op: Any, ranges: Mapping[str, Any], one_scale: bool) -> None:
    """Puts an LSTM in int8.

    Args:
        wiring: The graph that it is in.
        op: The op, in float.
        ranges: `min` and `max` by tensor name, of its data, its output and its cell state.
        one_scale: Whether all gates of a kernel have one scale.

    Raises:
        ConversionError: The cell state reaches farther than the op can hold.
    """
    hidden, cell = (int(op.inputs[number]) for number in LSTM_INPUTS.states)
    sequence = int(op.outputs[0])
    bits = cell_bits(_known(ranges, wiring.name(cell)), wiring.name(sequence))
    data = wiring.integers(op)
    if data is None:
        data = wiring.quantize(op, grid_of(_known(ranges, wiring.name(int(op.inputs[0])))))
    output = wiring.hand_out(op, grid_of(_known(ranges, wiring.name(sequence))))
    inputs = [int(i) for i in op.inputs]
    inputs[0] = data
    _put_weights(wiring, inputs, wiring.grid(data), one_scale)
    _hold(wiring, hidden, schema.TensorType.INT8, wiring.grid(output))
    _hold(wiring, cell, schema.TensorType.INT16, Grid(2.0 ** (bits - 15)))
    op.inputs = np.array(inputs, np.int32)
    op.intermediates = _intermediates(wiring, output)


def _known(ranges: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if name not in ranges:
        raise ConversionError(f"an LSTM in int8 needs the range of {name}, and it was not calibrated.")
    return ranges[name]


def cell_bits(ends: Mapping[str, Any], name: str) -> int:
    """The integer bits of a cell state, beside the sign and the bits after the point: 16 in all.

    Args:
        ends: `min` and `max` of the state.
        name: Name of the op's output, for the error.

    Raises:
        ConversionError: It has more than the op can hold.
    """
    reach = max(-float(np.min(ends["min"])), float(np.max(ends["max"])), 2.0**FEWEST_BITS)
    bits = math.ceil(math.log2(reach))
    if bits > MOST_BITS:
        layer = name.rpartition("/")[0] or name
        raise ConversionError(
            f"the cell state of {layer} reaches {reach:.0f}, and that of an LSTM in int8 holds {2**MOST_BITS} at most. "
            f"Keep the layer in float by the rule {{layers: {layer}, to: float}}, or write recurrent: unrolled."
        )
    return bits


def _put_weights(wiring: Wiring, inputs: list[int], data: Grid, one_scale: bool) -> None:
    """Puts constants in integers in place of the kernels and biases among an op's inputs."""
    biases = [wiring.constant(inputs[number]) for number in LSTM_INPUTS.biases]
    scales = _put_kernels(wiring, inputs, LSTM_INPUTS.kernels, one_scale, gate_kernels.least_scales(biases, data.scale))
    _put_kernels(wiring, inputs, LSTM_INPUTS.recurrent_kernels, one_scale)
    for number, bias, scale in zip(LSTM_INPUTS.biases, biases, scales, strict=True):
        own = float(np.float32(data.scale) * scale)
        inputs[number] = wiring.put_constant(inputs[number], gate_kernels.quantized_bias(bias, own), own)


def _put_kernels(
    wiring: Wiring, inputs: list[int], places: Sequence[int], one_scale: bool, least: Sequence[float] = ()
) -> list[np.float32]:
    """Puts the kernels of the gates in int8; returns their scales."""
    values = [wiring.constant(inputs[number]) for number in places]
    scales = gate_kernels.scales_of(values, one_scale, least)
    for number, value, scale in zip(places, values, scales, strict=True):
        inputs[number] = wiring.put_constant(inputs[number], gate_kernels.quantized(value, scale), float(scale))
    return scales


def _hold(wiring: Wiring, state: int, kind: int, grid: Grid) -> None:
    tensor = wiring.graph.tensors[state]
    tensor.type, tensor.quantization = kind, grid.parameters()


def _intermediates(wiring: Wiring, output: int) -> np.ndarray:
    """Tensors without a value: those of layer normalization, which is not there, and the grid of the hidden state."""
    found = []
    for number in range(_WITHOUT_USE + 1):
        tensor = schema.TensorT()
        tensor.name = f"{wiring.name(output)}/intermediate_{number}".encode()
        tensor.type, tensor.shape = schema.TensorType.FLOAT32, np.zeros(1, np.int32)
        tensor.buffer = 0
        found.append(tensor)
    found[-1].type, found[-1].quantization = schema.TensorType.INT8, wiring.grid(output).parameters()
    wiring.graph.tensors += found
    return np.arange(len(wiring.graph.tensors) - len(found), len(wiring.graph.tensors), dtype=np.int32)

"""LiteRT's int8 op of a whole LSTM in integers of NumPy.

References:
    Li and Alvarez, On the quantization of recurrent neural networks, arXiv:2101.05453; for the products of fixed-point
    numbers, and for tanh and sigmoid of them, gemmlowp's fixedpoint.h: exp by a Taylor series of degree 4 around -1/8
    and factors exp(-2^k), 1 / (1 + x) by three steps of Newton and Raphson.
"""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite import flatbuffer


@dataclass(frozen=True)
class IntegerLstm:
    """The integers and scales of the op, the gates in the order input, forget, cell, output.

    Args:
        data: Scale and zero point of the data.
        kernels: Of each gate `(units, inputs)` and its scale.
        recurrent_kernels: Of each gate `(units, units)` and its scale.
        biases: Of each gate `(units,)`.
        hidden: Scale and zero point of the output.
        cell_exponent: The scale of the cell is 2 to its power.
    """

    data: tuple[float, int]
    kernels: list[tuple[np.ndarray, float]]
    recurrent_kernels: list[tuple[np.ndarray, float]]
    biases: list[np.ndarray]
    hidden: tuple[float, int]
    cell_exponent: int


def of_file(content):
    """The first such op of a file."""
    model = flatbuffer.parse(content)
    graph, lstm = model.subgraphs[0], schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    codes = [flatbuffer.builtin_operator(code) for code in model.operatorCodes]
    op = next(op for op in graph.operators if codes[op.opcodeIndex] == lstm)

    def grid(number):
        found = graph.tensors[number].quantization
        return float(found.scale[0]), int(found.zeroPoint[0])

    def values(number, dtype):
        tensor = graph.tensors[number]
        return np.frombuffer(bytes(bytearray(model.buffers[tensor.buffer].data)), dtype).reshape(tensor.shape)

    kernels = [(values(op.inputs[number], np.int8), grid(op.inputs[number])[0]) for number in range(1, 9)]
    biases = [values(op.inputs[number], np.int32) for number in range(12, 16)]
    exponent = np.log2(grid(op.inputs[19])[0])
    assert exponent == round(exponent)
    return IntegerLstm(grid(op.inputs[0]), kernels[:4], kernels[4:], biases, grid(op.outputs[0]), int(exponent))


def run(op, x, sigmoid=None, tanh=None):
    """The outputs of every step, int8 `(samples, steps, units)`, of int8 data `(samples, steps, inputs)`.

    Args:
        op: The op.
        x: Its data.
        sigmoid, tanh: Activations of integers with so many bits before the point; those of LiteRT if not given.
    """
    sigmoid, tanh = sigmoid or fixed_sigmoid, tanh or fixed_tanh
    (data_scale, data_zero), (scale, zero) = op.data, op.hidden
    h, c = np.full((len(x), len(op.biases[0])), zero, np.int64), np.zeros((len(x), len(op.biases[0])), np.int64)
    outputs = []
    for step in np.moveaxis(x.astype(np.int64), 1, 0):
        gates = []
        for (kernel, own), (recurrent, other), bias in zip(op.kernels, op.recurrent_kernels, op.biases, strict=True):
            given = in_16_bits(scaled((step - data_zero) @ kernel.T.astype(np.int64) + bias, data_scale * own * 2**12))
            kept = scaled((h - zero) @ recurrent.T.astype(np.int64), scale * other * 2**12)
            gates.append(in_16_bits(given + kept))
        i, f, new, o = sigmoid(gates[0], 3), sigmoid(gates[1], 3), tanh(gates[2], 3), sigmoid(gates[3], 3)
        c = in_16_bits(divided(f * c, 15) + divided(i * new, 30 + op.cell_exponent))
        h = np.clip(scaled(o * tanh(c, 15 + op.cell_exponent), 2.0**-30 / scale) + zero, -128, 127)
        outputs.append(h)
    return np.stack(outputs, axis=1).astype(np.int8)


def in_16_bits(x):
    return np.clip(x, -(2**15), 2**15 - 1)


def divided(x, exponent):
    """`x / 2^exponent`, halves away from 0."""
    return np.where(x < 0, -((-x + (1 << exponent >> 1)) >> exponent), (x + (1 << exponent >> 1)) >> exponent)


def scaled(x, factor):
    """`x * factor` with a factor of 31 bits and a shift, rounded twice as gemmlowp does."""
    fraction, exponent = np.frexp(factor)
    whole = np.int64(np.rint(fraction * 2**31))
    product = (x.astype(np.int64) << max(exponent, 0)) * whole
    nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
    high = np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))
    return divided(high, max(-exponent, 0))


def exact_sigmoid(x, bits):
    """The nearest of 15 bits after the point."""
    return in_16_bits(np.rint(2**15 / (1 + np.exp(-x * 2.0 ** (bits - 15))))).astype(np.int64)


def exact_tanh(x, bits):
    """The nearest of 15 bits after the point."""
    return in_16_bits(np.rint(2**15 * np.tanh(x * 2.0 ** (bits - 15)))).astype(np.int64)


def fixed_sigmoid(x, bits):
    above = in_16_bits(_reciprocal(_exp(-np.abs(x), bits)) << 1)
    return np.where(x == 0, 2**14, np.where(x > 0, above, 2**15 - 1 - above))


def fixed_tanh(x, bits):
    size = in_16_bits((_reciprocal(_exp(-np.abs(x), bits + 1)) - 2**13) << 2)
    return np.sign(x) * size


def _times(a, b):
    product = a * b + np.where(a * b >= 0, 2**14, 1 - 2**14)
    return in_16_bits(np.where(product >= 0, product >> 15, -(-product >> 15)))


def _fixed(value, bits=0):
    return np.int64(np.rint(value * 2.0 ** (15 - bits)))


def _exp(x, bits):
    """exp of negative numbers with so many bits before the point; 15 bits after it."""
    after = 15 - bits
    quarter = 1 << (after - 2)
    rest = (x & (quarter - 1)) - quarter
    from_middle = (rest << bits) + 2**12
    square = _times(from_middle, from_middle)
    cube, fourth = _times(square, from_middle), _times(square, square)
    tail = divided(_times(divided(fourth, 2) + cube, _fixed(1 / 3)) + square, 1)
    found = in_16_bits(_fixed(np.exp(-1 / 8)) + _times(_fixed(np.exp(-1 / 8)), from_middle + tail))
    for power in range(-2, min(bits, 5)):
        found = np.where((rest - x) & (1 << (after + power)), _times(found, _fixed(np.exp(-(2.0**power)))), found)
    if bits > 5:
        found = np.where(x < -(32 << after), 0, found)
    return np.where(x == 0, 2**15 - 1, found)


def _reciprocal(x):
    """2 / (1 + x) of numbers in 0-1 with 15 bits after the point; 13 bits after it."""
    half = (x + 2**15) >> 1
    found = _fixed(48 / 17, 2) + _times(half, _fixed(-32 / 17, 2))
    for _ in range(3):
        found = found + in_16_bits(_times(found, 2**13 - _times(half, found)) << 2)
    return found

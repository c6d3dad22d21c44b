"""An LSTM that computes in float with weights that are stored smaller: in float16 or int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfopt.quantization.recurrent import gate_kernels
from tfopt.quantization.recurrent.integer_wiring import Wiring
from tfopt.tflite.ops import LSTM_INPUTS

_KERNELS = (LSTM_INPUTS.kernels, LSTM_INPUTS.recurrent_kernels)
# Version of the op from which on it takes int8 kernels beside data in float.
_HYBRID = 2


def to_hybrid(wiring: Wiring, op: Any, one_scale: bool) -> None:
    """Puts the kernels in int8, which the op computes with beside data in float.

    Args:
        wiring: The graph that it is in.
        op: The op, in float.
        one_scale: Whether all gates of a kernel have one scale.
    """
    inputs = np.array(op.inputs, np.int32)
    for places in _KERNELS:
        values = [wiring.constant(int(inputs[number])) for number in places]
        for number, value, scale in zip(places, values, gate_kernels.scales_of(values, one_scale), strict=True):
            steps = gate_kernels.quantized(value, scale)
            inputs[number] = wiring.put_constant(int(inputs[number]), steps, float(scale))
    op.inputs = inputs
    code = wiring.model.operatorCodes[op.opcodeIndex]
    code.version = max(code.version, _HYBRID)


def to_weight_only(wiring: Wiring, op: Any, one_scale: bool) -> None:
    """Puts the kernels in int8, and dequantizes them before the op reads them."""
    to_hybrid(wiring, op, one_scale)
    inputs = np.array(op.inputs, np.int32)
    for number in (number for places in _KERNELS for number in places):
        inputs[number] = wiring.dequantized(int(inputs[number]), op)
    op.inputs = inputs


def to_float16(wiring: Wiring, op: Any) -> None:
    """Puts kernels and biases in float16, and takes them to float32 before the op reads them."""
    inputs = np.array(op.inputs, np.int32)
    for number in (number for places in (*_KERNELS, LSTM_INPUTS.biases) for number in places):
        stored = wiring.put_constant(int(inputs[number]), wiring.constant(int(inputs[number])).astype(np.float16))
        inputs[number] = wiring.dequantized(stored, op)
    op.inputs = inputs

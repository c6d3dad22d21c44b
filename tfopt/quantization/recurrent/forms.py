"""The form of recurrent layers that are one op in a quantized file, as its mode has it.

A quantizer that does not know these ops has left them in float.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.quantization.recurrent.integer_op import to_integers
from tfopt.quantization.recurrent.integer_wiring import Wiring
from tfopt.quantization.recurrent.stored_weights import to_float16, to_hybrid, to_weight_only
from tfopt.recipe.modes import Mode
from tfopt.tflite import flatbuffer
from tfopt.tflite.unused import leave_out_unused


def with_recurrent_forms(
    content: bytes, mode: Mode, names: Collection[str], one_scale: Collection[str], ranges: Mapping[str, Any]
) -> bytes:
    """A quantized file with recurrent ops in the form of its mode.

    Args:
        content: Bytes of the file, in which they are in float.
        mode: The mode of the file.
        names: The names of the outputs of those that are to be quantized.
        one_scale: Of these the ones whose kernels have one scale for all gates.
        ranges: `min` and `max` by tensor name, for modes that compute in integers.

    Raises:
        ConversionError: A layer has no such form.
    """
    if not names:
        return content
    wiring = Wiring(flatbuffer.parse(content))
    for op in list(wiring.graph.operators):
        kind = wiring.kind(op)
        if mode.static and kind == schema.BuiltinOperator.REVERSE_V2:
            _reverse_integers(wiring, op)
        name = wiring.name(int(op.outputs[0])) if kind == schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM else ""
        if name not in names:
            continue
        if mode.static:
            to_integers(wiring, op, ranges, name in one_scale)
        elif mode.weights.startswith("float"):
            to_float16(wiring, op)
        elif mode.weight_only:
            to_weight_only(wiring, op, name in one_scale)
        else:
            to_hybrid(wiring, op, name in one_scale)
    wiring.leave_out_copies()
    leave_out_unused(wiring.model)
    return flatbuffer.pack(wiring.model)


def _reverse_integers(wiring: Wiring, op: Any) -> None:
    """Puts a reversal of time in int8 where what it reverses is; the quantizer does not know the op."""
    source = wiring.integers(op)
    if source is not None:
        op.inputs = np.array([source, *op.inputs[1:]], np.int32)
        wiring.hand_out(op, wiring.grid(source), exact=True)

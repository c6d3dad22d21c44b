"""What a file that Vela has compiled tells of itself: the accelerator that it is for, and the memory that it plans.

References:
    The driver's actions at the head of a command stream: Vela's driver_actions.py, and the register CONFIG of Arm's
    Ethos-U technical reference manuals. The plan: TFLM's docs/memory_management.md, "Offline planned tensor
    allocations".
"""

from __future__ import annotations

import math
import struct
from typing import Any

from tfopt.tflite.ops import NPU

_HEAD = b"COP1"
_CONFIG = 1  # the driver's action whose next word is the register CONFIG
_PRODUCTS = {0: "ethos-u55", 1: "ethos-u65", 2: "ethos-u85"}
_PLAN = b"OfflineMemoryAllocation"
_NOT_PLANNED = -1
_BYTES = {0: 4, 1: 2, 2: 4, 4: 8, 7: 2, 10: 8}  # of types in the schema with more than one: FLOAT32, FLOAT16, ...


def accelerator(content: bytes) -> str:
    """The accelerator that a file is compiled for, such as `ethos-u55-128`; empty where it has no command stream."""
    from tfopt.tflite.file import op_name, parse

    _, model = parse(content)
    for graph in model.subgraphs:
        for op in graph.operators or []:
            if op_name(model.operatorCodes[op.opcodeIndex]) == NPU:
                stream = _data(model, graph.tensors[int(op.inputs[0])])
                return _named(stream)
    return ""


def planned_bytes(content: bytes) -> int | None:
    """Bytes of arena for all tensors of a compiled file, at the places that it has planned; None where it has none."""
    from tfopt.tflite.file import parse

    _, model = parse(content)
    plan = next((one for one in model.metadata or [] if one.name == _PLAN), None)
    if plan is None or (data := _buffer(model, plan.buffer)) is None:
        return None
    words = struct.unpack(f"<{len(data) // 4}i", data[: len(data) // 4 * 4])
    count, offsets = words[2], words[3:]
    tensors = model.subgraphs[0].tensors
    if count != len(tensors) or len(offsets) < count:
        return None
    end, others = 0, 0
    for tensor, offset in zip(tensors, offsets, strict=False):
        if offset != _NOT_PLANNED:
            end = max(end, offset + _size(tensor))
        elif not _data(model, tensor):
            others += _size(tensor)  # TFLM finds a place for it
    return end + others


def _named(stream: bytes) -> str:
    if stream[:4] != _HEAD or len(stream) < 12:
        return ""
    action, config = struct.unpack("<2I", stream[4:12])
    family = _PRODUCTS.get(config >> 28)
    return f"{family}-{1 << (config & 0xF)}" if family and action & 0xFF == _CONFIG else ""


def _data(model: Any, tensor: Any) -> bytes:
    return _buffer(model, tensor.buffer) or b""


def _buffer(model: Any, index: int) -> bytes | None:
    data = model.buffers[index].data
    return None if data is None else bytes(data)


def _size(tensor: Any) -> int:
    lengths = tensor.shape if tensor.shape is not None else ()
    return math.prod(max(int(length), 1) for length in lengths) * _BYTES.get(tensor.type, 1)

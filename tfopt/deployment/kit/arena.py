"""The tensor arena that a file is given where it was not run: what is planned in it, or an estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tfopt.deployment.kit.model import ALIGNMENT, Arena

# What TFLM keeps: of itself, of each tensor and of each op. Of files of 8 to 21 tensors and 3 to 9 ops it was 1.5 to
# 3.5 kB on a PC, whose pointers are twice as long as a microcontroller's.
_ITSELF, _TENSOR, _OP = 1024, 64, 256
# The same for ops that have scratch buffers and tables by channel.
_WITH_SCRATCH = 8192, 96, 512


def arena_of(flashed: bytes, ops: Sequence[str], measured: int | None) -> tuple[Arena, int]:
    """The arena of a file, and the number of its tensors.

    Args:
        flashed: Bytes of the file that is flashed.
        ops: Names of its ops.
        measured: Bytes of the arena where the file was run.
    """
    from tfopt.targets.vela_file import planned_bytes
    from tfopt.tflite.file import parse, read
    from tfopt.tflite.ops import NPU

    _, schema = parse(flashed)
    tensors = sum(len(graph.tensors) for graph in schema.subgraphs)
    count = len(read(flashed).ops)
    itself, tensor, op = _WITH_SCRATCH
    estimate = _activations(schema) + itself + tensor * tensors + op * count
    planned = planned_bytes(flashed) if NPU in ops else None
    if measured is not None or planned is None:
        return Arena(measured, estimate), tensors
    if set(ops) == {NPU}:
        itself, tensor, op = _ITSELF, _TENSOR, _OP
    return Arena(None, estimate, planned, itself + tensor * tensors + op * count), tensors


def _activations(schema: Any) -> int:
    """Bytes for all activations at once, each of the widest type."""
    bytes_ = 0
    for graph in schema.subgraphs:
        for tensor in graph.tensors:
            data = schema.buffers[tensor.buffer].data
            if data is None or not len(data):
                shape = tensor.shape if tensor.shape is not None else ()
                size = 8 * math.prod(max(int(length), 1) for length in shape)
                bytes_ += -(-size // ALIGNMENT) * ALIGNMENT
    return bytes_

"""A `.tflite` with most weights of its integer kernels zero, as if it had been pruned: to measure what zeros save."""

from __future__ import annotations

import numpy as np

from tfopt.tflite import flatbuffer
from tfopt.tflite.file import op_name, tensor_type
from tfopt.tflite.ops import facts_of


def thinned(content: bytes, density: float) -> bytes:
    """The file with the smallest weights of each int8 kernel set to zero.

    Args:
        content: Bytes of the file.
        density: Fraction of a kernel's weights that stay, 0-1.
    """
    model = flatbuffer.parse(content)
    kernels = {
        graph.tensors[int(index)].buffer
        for graph in model.subgraphs
        for op in graph.operators or []
        if facts_of(op_name(model.operatorCodes[op.opcodeIndex])).kernel_axis is not None
        for index in op.inputs
        if int(index) >= 0
        and tensor_type(tensor := graph.tensors[int(index)]) == "INT8"
        and tensor.shape is not None
        and len(tensor.shape) > 1
    }
    for number in kernels:
        buffer = model.buffers[number]
        if buffer.data is None:
            continue
        weights = np.asarray(buffer.data, np.uint8).view(np.int8).astype(np.int16)
        kept = max(round(density * weights.size), 1)
        # Equal magnitudes are told apart by their place, or none or all of the smallest would go.
        smallest = np.argsort(np.abs(weights), kind="stable")[: weights.size - kept]
        weights[smallest] = 0
        buffer.data = weights.astype(np.int8).view(np.uint8)
    return flatbuffer.pack(model)

"""The weights of a `.tflite` as the numbers that they stand for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfopt.tflite.file import parse, stored_values, tensor_type


class StoredWeights:
    """The constants of a file by name, those inside of loops included, dequantized when they are asked for.

    Args:
        content: Bytes of a file with tensor names.

    Raises:
        ModelError: The content is not a TFLite file.
    """

    def __init__(self, content: bytes):
        _, self._model = parse(content)
        self._tensors: dict[str, Any] = {}
        for graph in self._model.subgraphs:  # weights of layers that are loops are inside of theirs
            for tensor in graph.tensors:
                self._tensors.setdefault((tensor.name or b"").decode(errors="replace"), tensor)
        self._counted: set[tuple[str, bytes]] = set()

    def __call__(self, name: str) -> np.ndarray | None:
        """The numbers of a constant, float32 in its shape; None where there is no such, or its type has no numbers.

        A kernel that is stored sparse has the shape `(stored,)`, and no numbers for what it leaves out.
        """
        tensor = self._tensors.get(name)
        data = None if tensor is None else self._model.buffers[tensor.buffer].data
        if tensor is None or data is None:
            return None
        shape = tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ()))
        values = stored_values(bytes(np.asarray(data, np.uint8)), tensor_type(tensor), shape).astype(np.float32)
        if values.size == math.prod(shape):
            values = values.reshape(shape)
        return _dequantized(values, tensor.quantization)

    def grid_bytes(self, name: str) -> int:
        """Bytes of the scales and zero points of a constant, those that one asked for before has as well left out.

        A file has equal ones once (`flatbuffer.pack`).
        """
        tensor = self._tensors.get(name)
        quantization = None if tensor is None else tensor.quantization
        if quantization is None:
            return 0
        found = 0
        for values, dtype in ((quantization.scale, np.float32), (quantization.zeroPoint, np.int64)):
            vector = np.asarray(() if values is None else values, dtype)
            key = (vector.dtype.str, vector.tobytes())
            found += 0 if key in self._counted else vector.nbytes
            self._counted.add(key)
        return found


def _dequantized(values: np.ndarray, quantization: Any) -> np.ndarray:
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return values
    scales = np.asarray(quantization.scale, np.float32)
    points = quantization.zeroPoint
    zeros = np.zeros(len(scales), np.float32) if points is None else np.asarray(points, np.float32)
    if len(scales) > 1:
        if values.ndim < 2 and len(scales) != values.size:  # stored sparse, with a scale for each channel
            return values
        axis = int(quantization.quantizedDimension)
        along = [1] * values.ndim
        along[axis] = len(scales)
        scales, zeros = scales.reshape(along), np.broadcast_to(zeros, (len(scales),)).reshape(along)
    return (values - zeros) * scales

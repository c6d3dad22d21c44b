"""The kernels of a parsed file that can be decoded: constants that ops read as their kernel, and nothing else does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.targets.decoding.kernel import Kernel
from tfopt.tflite.file import op_name, stored_values, tensor_type
from tfopt.tflite.ops import facts_of

# Types of kernels that the decoder makes.
TYPES = ("INT8", "FLOAT32")


@dataclass(frozen=True, order=True)
class Use:
    """A place where an op reads a kernel.

    Args:
        graph: Number of the op's subgraph.
        op: Number of the op in the subgraph.
        tensor: Number of the kernel's tensor in the subgraph.
        name: Name of the op.
    """

    graph: int
    op: int
    tensor: int
    name: str


@dataclass(frozen=True, eq=False)
class StoredKernel:
    """A kernel that can be decoded.

    Args:
        buffer: Number of its buffer in the file.
        uses: Where it is read, one op or more.
        kernel: Its values.
    """

    buffer: int
    uses: tuple[Use, ...]
    kernel: Kernel

    @property
    def bytes(self) -> int:
        """Its bytes as it is, and in RAM when it is decoded."""
        return self.kernel.values.nbytes


def find(model: Any) -> list[StoredKernel]:
    """The kernels of a parsed file that can be decoded, in the order in which they are read first."""
    uses = defaultdict[int, list[Use]](list)
    for number, graph in enumerate(model.subgraphs):
        for place, op in enumerate(graph.operators or ()):
            name = op_name(model.operatorCodes[op.opcodeIndex])
            for which in facts_of(name).decodes:
                index = int(op.inputs[which]) if which < len(op.inputs) else -1
                if index >= 0:
                    uses[graph.tensors[index].buffer].append(Use(number, place, index, name))
    taken, tensors = _taken(model), defaultdict[int, list[Any]](list)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensors[tensor.buffer].append(tensor)
    found = []
    for buffer, own in uses.items():
        kernel = _kernel(model.buffers[buffer].data, tensors[buffer])
        if kernel is not None and len(own) == taken.get(buffer):
            found.append(StoredKernel(buffer, tuple(own), kernel))
    return found


def _taken(model: Any) -> dict[int, int]:
    """How often each buffer is read: by ops, and by subgraphs as an input or output of theirs."""
    counts = defaultdict[int, int](int)
    for graph in model.subgraphs:
        reads = [index for op in graph.operators or () for index in op.inputs]
        for index in (*reads, *graph.inputs, *graph.outputs):
            if index >= 0:
                counts[graph.tensors[int(index)].buffer] += 1
    return counts


def _kernel(data: Any, tensors: Iterable[Any]) -> Kernel | None:
    """The values of a buffer; None where it has none, or where its tensors are of several forms or of odd ones."""
    forms = {_form(tensor) for tensor in tensors}
    form = forms.pop()
    if data is None or not len(data) or forms or form is None:
        return None
    dtype, shape, axis = form
    values = stored_values(bytes(np.asarray(data, np.uint8)), dtype, shape)
    return Kernel(values.reshape(shape), axis) if values.size == np.prod(shape) else None


def _form(tensor: Any) -> tuple[str, tuple[int, ...], int | None] | None:
    """Type, shape and axis of scales of a tensor; None where the decoder would make something else of it."""
    dtype, shape = tensor_type(tensor), tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ()))
    if dtype not in TYPES or not shape or tensor.isVariable or tensor.sparsity is not None:
        return None
    quantization = tensor.quantization
    scales = 0 if quantization is None or quantization.scale is None else len(quantization.scale)
    points = () if quantization is None or quantization.zeroPoint is None else quantization.zeroPoint
    if any(int(point) for point in points):  # the decoder's zeros are zero points
        return None
    if scales < 2:
        return dtype, shape, None
    axis = int(quantization.quantizedDimension)
    return (dtype, shape, axis) if axis in (0, len(shape) - 1) and shape[axis] == scales else None

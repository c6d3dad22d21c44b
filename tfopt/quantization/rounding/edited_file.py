"""A quantized file of kernels and biases that were chosen: constants replaced, ranges handed over, integers checked."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.errors import ConversionError
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.rounding.grids import kernel_grids
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read


@dataclass(frozen=True)
class ChosenKernel:
    """A kernel that was chosen.

    Args:
        integers: The integers, in the shape of the kernel.
        scales: The scales, of the kernel's size along its channels or of size 1, and of size 1 along all other axes.
        high: The integer at the end of the range.
    """

    integers: np.ndarray
    scales: np.ndarray
    high: int

    @property
    def values(self) -> np.ndarray:
        """The weights that the integers stand for, in float32."""
        return (self.integers * self.scales).astype(np.float32)

    @property
    def range(self) -> dict[str, np.ndarray]:
        """The range at which the quantizer finds these scales."""
        end = (self.scales * self.high).astype(np.float32)
        return {"min": -end, "max": end}


def with_constants(
    source: FloatModel, kernels: Mapping[str, ChosenKernel], biases: Mapping[int, np.ndarray]
) -> FloatModel:
    """The float file with kernels and biases replaced.

    Args:
        source: The float file.
        kernels: Kernels by tensor name.
        biases: Biases `(channels,)` by op number; what several ops read stays as it is for the others.
    """
    model = flatbuffer.parse(source.content)
    graph = model.subgraphs[0]
    tensors = {tensor.name.decode(): tensor for tensor in graph.tensors}
    for name, kernel in kernels.items():
        _fill(model, tensors[name], kernel.values)
    for number, bias in biases.items():
        op, facts = graph.operators[number], source.ops[number].facts
        place = (facts.data_kernel_bias or (0, 1, 2))[2]
        index = int(op.inputs[place])
        if _readers(graph.operators, index) > 1:
            graph.tensors.append(copy.copy(graph.tensors[index]))
            graph.tensors[-1].name = f"{graph.tensors[index].name.decode()}/of_op_{number}".encode()
            index = len(graph.tensors) - 1
            op.inputs = np.array([index if at == place else int(i) for at, i in enumerate(op.inputs)], np.int32)
        _fill(model, graph.tensors[index], bias)
    content = flatbuffer.pack(model)
    # Kernels on a grid have few values: how they are stored is for the weights to say that they came from.
    known = {tensor.name: tensor for op in source.ops for tensor in op.inputs}
    ops = tuple(replace(op, inputs=tuple(known.get(t.name, t) for t in op.inputs)) for op in read(content).ops)
    return replace(source, content=content, ops=ops)


def check_integers(content: bytes, kernels: Mapping[str, ChosenKernel]) -> None:
    """Checks that a file stores the integers that were chosen.

    Raises:
        ConversionError: An integer differs.
    """
    stored = kernel_grids(content)
    for name, kernel in kernels.items():
        found = stored.get(name)
        if found is None or not np.array_equal(found.integers, kernel.integers):
            raise ConversionError(
                f"the quantizer has not kept the integers that were chosen for {name!r}. Write rounding: nearest."
            )


def _fill(model: Any, tensor: Any, values: np.ndarray) -> None:
    """Gives a tensor data of its own."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
    shared = sum(other.buffer == tensor.buffer for graph in model.subgraphs for other in graph.tensors) > 1
    if shared:
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    else:
        model.buffers[tensor.buffer] = buffer


def _readers(operators: Iterable[Any], index: int) -> int:
    return sum(index in (int(i) for i in op.inputs) for op in operators)

"""Identities among the values of a float file: ids, indices and categories, which no grid of a few bits can hold.

A float that is cast to an integer, or compared for equality with numbers other than 0, says which one and not how much:
a step of the grid away it means something else. Such values, and the ops that only rearrange or compute them, stay in
float. Values that come out of a kernel are quantities until the cast: of those ops the last stays in float where
nothing but identities are made of its output, and what is before it is quantized.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op, Tensor, constants, output_names, read

_INTEGERS = {"INT32": schema.TensorType.INT32, "INT64": schema.TensorType.INT64}


@dataclass(frozen=True)
class Identities:
    """What stays in float in a file of integers, as it computes identities.

    Args:
        ops: Numbers of the ops.
        tensors: Names of the activations that hold identities.
    """

    ops: frozenset[int] = frozenset()
    tensors: frozenset[str] = frozenset()


def find(ops: Sequence[Op], outputs: Iterable[str]) -> Identities:
    """Finds the identities of a float file.

    Args:
        ops: Its ops, in order.
        outputs: Names of the tensors that it outputs.
    """
    outer = {index: op for index, op in enumerate(ops) if not op.graph}
    producers = {tensor.name: index for index, op in outer.items() for tensor in op.outputs}
    readers: dict[str, set[int]] = defaultdict(set)
    for index, op in outer.items():
        for tensor in op.inputs:
            readers[tensor.name].add(index)
    kept: set[int] = set()
    held: set[str] = set()
    computed: set[int] = set()  # ops with a kernel
    asking = {index for index, op in outer.items() if _asks_which(op)}
    waiting = [tensor.name for index in asking for tensor in outer[index].inputs if _floats(tensor)]
    while waiting:
        name = waiting.pop()
        if name in held:
            continue
        held.add(name)
        if name not in producers:  # an input
            continue
        index = producers[name]
        if ops[index].facts.control or ops[index].facts.border:
            continue
        if _has_kernel(ops[index]):
            computed.add(index)
            continue
        kept.add(index)
        waiting += [tensor.name for tensor in ops[index].inputs if _floats(tensor)]
    kept |= asking
    final = set(outputs)
    for index in computed:
        names = {tensor.name for tensor in ops[index].outputs}
        if not names & final and all(readers[name] <= kept for name in names):
            kept.add(index)
    # What only arranges or computes with them takes them as they are: beside an id of 500 a 0.5 is no step.
    for name in held:
        kept |= {i for i in readers[name] if not _has_kernel(outer[i]) and not outer[i].facts.control}
    return Identities(frozenset(i for i in kept if not ops[i].facts.border), frozenset(held))


def _asks_which(op: Op) -> bool:
    """Whether an op asks which number a float is."""
    if not op.facts.exact:
        return False
    if op.facts.border:
        return any(_floats(t) for t in op.inputs) and not any(t.dtype.startswith("FLOAT") for t in op.outputs)
    # Every grid has the 0, such as that of padding, and none any other number.
    return any(t.parameter and t.zeros < t.size for t in op.inputs)


def _has_kernel(op: Op) -> bool:
    return bool(op.kernels) and not op.facts.looks_up and not op.facts.elementwise


def _floats(tensor: Tensor) -> bool:
    return tensor.dtype == "FLOAT32" and not tensor.bytes


def with_integer_inputs(
    content: bytes, samples: Mapping[str, np.ndarray]
) -> tuple[bytes, tuple[int, ...], tuple[str, ...]]:
    """A float file whose inputs are integers where all that reads them takes them for integers.

    That is casts to one type of integers, and beside them comparisons with whole numbers, such as the 0 of padding.

    Args:
        content: Bytes of the file, with a signature.
        samples: Inputs `(samples, ...)` by input name; what is compared has to be whole numbers in them.

    Returns:
        The bytes, the numbers of the casts that are gone, and the names of the inputs that are integers now.
    """
    summary, final, known = read(content), set(output_names(content)), constants(content)
    if not any(op.name == "CAST" for op in summary.ops):
        return content, (), ()
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    outer = [(index, op) for index, op in enumerate(summary.ops) if not op.graph]
    gone: dict[int, int] = {}  # the casts, and the input in place of their output
    names = []
    for entry in model.signatureDefs[0].inputs:
        own, name = graph.tensors[entry.tensorIndex], entry.name.decode()
        reading = [(index, op) for index, op in outer if any(t.name == own.name.decode() for t in op.inputs)]
        casts = [(index, op) for index, op in reading if op.name == "CAST" and op.outputs[0].name not in final]
        compared = [(index, op) for index, op in reading if _compares_whole(op, known)]
        types = {op.outputs[0].dtype for _, op in casts}
        if own.type != schema.TensorType.FLOAT32 or own.name.decode() in final or len(types) != 1:
            continue
        if not types <= set(_INTEGERS) or len(casts) + len(compared) != len(reading):
            continue
        if compared and not np.array_equal(samples[name], np.round(samples[name])):
            continue
        kind = types.pop()
        own.type = _INTEGERS[kind]
        gone |= {index: entry.tensorIndex for index, _ in casts}
        for index, _ in compared:
            _compare_integers(model, graph, graph.operators[index], entry.tensorIndex, kind)
        names.append(name)
    if not gone:
        return content, (), ()
    new = {int(graph.operators[index].outputs[0]): tensor for index, tensor in gone.items()}
    graph.operators = [op for index, op in enumerate(graph.operators) if index not in gone]
    for op in graph.operators:
        op.inputs = np.array([new.get(int(i), int(i)) for i in op.inputs], np.int32)
    return flatbuffer.pack(model), tuple(gone), tuple(names)


def _compares_whole(op: Op, known: Mapping[str, np.ndarray]) -> bool:
    """Whether an op compares something for equality with constant whole numbers of 32 bits."""
    others = [known[tensor.name] for tensor in op.inputs if tensor.name in known]
    if not op.facts.exact or op.facts.border or len(others) != 1:
        return False
    return bool((np.abs(others[0]) < 2**31).all() and np.array_equal(others[0], np.round(others[0])))


def _compare_integers(model: Any, graph: Any, op: Any, source: int, kind: str) -> None:
    """Gives a comparison the constant in integers."""
    [other] = [int(i) for i in op.inputs if int(i) != source]
    data = bytes(bytearray(model.buffers[graph.tensors[other].buffer].data))
    values = np.frombuffer(data, np.float32).reshape(graph.tensors[other].shape)
    name = f"{graph.tensors[other].name.decode()}/{kind.lower()}/{op.outputs[0]}"
    new = flatbuffer.add_constant(model, graph, name, values.astype(kind.lower()))
    op.inputs = np.array([new if int(i) == other else int(i) for i in op.inputs], np.int32)


def remarks(inputs: Iterable[str], integers: Iterable[str], identities: Identities) -> Iterator[str]:
    """What is to be said of the inputs that hold identities.

    Args:
        inputs: Names of the file's inputs.
        integers: Those that were made integers.
        identities: The identities of the file.
    """
    for name in inputs:
        if name in integers:
            yield f"input {name!r} holds ids or the like: it is an integer, and not quantized"
        elif name in identities.tensors:
            yield f"input {name!r} holds ids, or marks such as that of missing values: it stays in float32"

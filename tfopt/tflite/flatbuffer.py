"""Parsing and rewriting of `.tflite` flatbuffers: signature, tensor names, slimming, packing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.tflite.sharing import SharingBuilder

SIGNATURE = "serving_default"
# The mark of a TFLite file, and where it stands.
MARK, MARKED = b"TFL3", slice(4, 8)
# Written by the converter about itself; no runtime reads it.
_CONVERSION_NOTES = b"CONVERSION_METADATA"
# The metadata of a file whose state carries one sequence on from run to run.
_STREAM = b"TFOPT_STREAM"
# Of a conversion, the float file and the quantized one are read many times.
KEPT, KEPT_BYTES = 2, 2**26
# What the schema gives as the alignment of a buffer (`force_align`).
BUFFER_ALIGNMENT = 16


def is_tflite(path: Path) -> bool:
    """Whether a file is meant for a `.tflite`: by its suffix, else by the mark in it, which a pipe is not read for."""
    if path.exists() and not path.is_file():
        return path.suffix == ".tflite"
    with path.open("rb") as file:
        return path.suffix == ".tflite" or file.read(MARKED.stop)[MARKED] == MARK


def parse(content: bytes) -> Any:
    """A file as a schema object, with all its constants inside.

    Quantizers write large constants behind the flatbuffer and keep only their place in it, where few readers look.

    Raises:
        ValueError: It claims more parts than it has room for.
    """
    _check_lengths(content)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for buffer in model.buffers or ():
        if buffer.offset > 1:  # 0: stored inside; 1: reserved and never filled
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _check_lengths(content: bytes) -> None:
    """Refuses a file whose lists are longer than it: each of their entries takes an offset of 4 bytes.

    The generated reader makes an object of every entry, and would work through a length of 2^31 for hours.
    """
    left = len(content) // 4

    def take(*lengths: int) -> None:
        nonlocal left
        left -= sum(lengths)
        if left < 0:
            raise ValueError("it claims more parts than it has room for")

    model = schema.Model.GetRootAs(content, 0)
    take(model.OperatorCodesLength(), model.BuffersLength(), model.MetadataLength(), model.SignatureDefsLength())
    take(model.SubgraphsLength())
    for index in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(index)
        take(signature.InputsLength(), signature.OutputsLength())
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        take(graph.TensorsLength(), graph.OperatorsLength())
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            sparsity = tensor.Sparsity()
            take(tensor.VariantTensorsLength(), sparsity.DimMetadataLength() if sparsity else 0)


def view(content: bytes) -> Any:
    """`parse` for readers, who change nothing: files that were read last are kept as long as they are small."""
    return _kept(content) if len(content) <= KEPT_BYTES else parse(content)


@functools.lru_cache(maxsize=KEPT)
def _kept(content: bytes) -> Any:
    return parse(content)


def builtin_operator(code: Any) -> int:
    """The `BuiltinOperator` of an entry of a file's op codes.

    Files of the schema's version 3 have it as `deprecatedBuiltinCode` alone, a byte; since 3a both are written, and
    that one stays at 127 for all above it.
    """
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def opcode_index(model: Any, wanted: int) -> int:
    """The index of an op among a file's op codes, added if missing."""
    for index, code in enumerate(model.operatorCodes):
        if builtin_operator(code) == wanted:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = wanted
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def pack(model: Any, aligned: Collection[int] = ()) -> bytes:
    """The bytes of a schema object; equal parts, such as shapes and quantization parameters, are written once.

    Args:
        model: The schema object.
        aligned: Numbers of the buffers whose data is to lie at a multiple of 16 bytes; that of others lies at one of 4.
    """
    builder, changed = SharingBuilder(), _align(model, aligned)
    try:
        builder.Finish(model.Pack(builder), MARK)
    finally:
        for each in changed:
            del each.Pack
    return bytes(builder.Output())


def _align(model: Any, numbers: Collection[int]) -> list[Any]:
    """Lets buffers of a model lie at multiples of 16 bytes, by a method of their own; returns them, to take it off."""

    def packed(data: Any, builder: Any) -> int:
        values = np.asarray(data, np.uint8)
        builder.StartVector(1, len(values), BUFFER_ALIGNMENT)
        builder.head -= len(values)
        builder.Bytes[builder.head : builder.head + len(values)] = values.tobytes()
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)

    found = [model.buffers[number] for number in sorted(numbers)]
    for buffer in found:
        buffer.Pack = functools.partial(packed, buffer.data)
    return found


def with_signature(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Adds the signature `serving_default` to a parsed file, which a conversion by concrete function leaves out.

    Args:
        model: A parsed file; the signature is for its first subgraph.
        inputs: Names for its inputs, in their order.
        outputs: Names for its outputs, in their order.
    """
    graph = model.subgraphs[0]

    def entries(names: Sequence[str], indices: Sequence[int]) -> list[Any]:
        found = []
        for name, index in zip(names, indices, strict=True):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, int(index)
            found.append(entry)
        return found

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs, signature.outputs = entries(inputs, graph.inputs), entries(outputs, graph.outputs)
    model.signatureDefs = [signature]


def signature_names(content: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a file's inputs and of its outputs, in the order of its first signature; nothing else is read."""
    signature = schema.Model.GetRootAs(content, 0).SignatureDefs(0)
    inputs = (signature.Inputs(index) for index in range(signature.InputsLength()))
    outputs = (signature.Outputs(index) for index in range(signature.OutputsLength()))
    return tuple(entry.Name().decode() for entry in inputs), tuple(entry.Name().decode() for entry in outputs)


def has_state(content: bytes) -> bool:
    """Whether a file has variables, which keep their values from run to run; nothing else is read."""
    model = schema.Model.GetRootAs(content, 0)
    graphs = (model.Subgraphs(index) for index in range(model.SubgraphsLength()))
    return any(graph.Tensors(index).IsVariable() for graph in graphs for index in range(graph.TensorsLength()))


def mark_stream(content: bytes) -> bytes:
    """A file marked as one whose state carries a sequence on from run to run; no runtime reads the mark."""
    model, entry = parse(content), schema.MetadataT()
    entry.name, entry.buffer = _STREAM, 0  # the empty one that every file begins with
    model.metadata = [*(model.metadata or []), entry]
    return pack(model)


def is_stream(content: bytes) -> bool:
    """Whether a file is marked as a stream's; nothing else is read."""
    model = schema.Model.GetRootAs(content, 0)
    return any(model.Metadata(index).Name() == _STREAM for index in range(model.MetadataLength()))


def rename(model: Any, new: Callable[[str], str]) -> dict[str, str]:
    """Renames every tensor of a parsed file; names that clash get a number, as the quantizer needs them unique.

    Returns:
        The new names by the old ones.
    """
    taken: set[str] = set()
    names: dict[str, str] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            old = (tensor.name or b"").decode(errors="replace")
            wanted = name = new(old)
            count = 1
            while name in taken:
                count += 1
                name = f"{wanted}:{count}"
            taken.add(name)
            names[old] = name
            tensor.name = name.encode()
    return names


def add_constant(model: Any, graph: Any, name: str, values: np.ndarray) -> int:
    """Adds a constant of type float32, int32 or int64 to a graph of a parsed file; returns its number."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.name, tensor.buffer = name.encode(), len(model.buffers) - 1
    tensor.type = getattr(schema.TensorType, values.dtype.name.upper())
    tensor.shape = np.array(values.shape, np.int32)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_activation(graph: Any, name: str, like: Any) -> int:
    """Adds a computed tensor of the type and shape of another to a graph of a parsed file; returns its number."""
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.buffer = name.encode(), like.type, 0
    tensor.shape, tensor.shapeSignature = like.shape, like.shapeSignature
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def limit(model: Any, graph: Any, ends: tuple[int, int], kind: int, value: float) -> Any:
    """An op of a parsed file that limits a float tensor by a constant; the caller puts it into its place.

    Args:
        model: The parsed file.
        graph: The graph that the op is for.
        ends: Numbers of the tensor and of the limited one.
        kind: `BuiltinOperator.MAXIMUM` for the least value, `MINIMUM` for the largest.
        value: The limit.
    """
    source, output = ends
    constant = add_constant(model, graph, f"{graph.tensors[output].name.decode()}/limit", np.array(value, np.float32))
    op = schema.OperatorT()
    op.opcodeIndex = opcode_index(model, kind)
    op.inputs, op.outputs = np.array([source, constant], np.int32), np.array([output], np.int32)
    op.builtinOptionsType = schema.BuiltinOptions.MaximumMinimumOptions
    op.builtinOptions = schema.MaximumMinimumOptionsT()
    return op


def slim(content: bytes) -> bytes:
    """Removes what no runtime reads from a file: tensor names, and the converter's notes about itself.

    Signature names stay. The outputs are the same to the bit.
    """
    model = parse(content)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = None
    metadata = model.metadata or []
    model.metadata = [entry for entry in metadata if entry.name != _CONVERSION_NOTES]
    for entry in metadata:
        if entry.name == _CONVERSION_NOTES:
            model.buffers[entry.buffer].data = None  # the entry stays, as buffers are referenced by number
    return pack(model)

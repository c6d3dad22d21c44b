"""Reading a `.tflite` file: its tensors and ops, their bytes and zeros."""

from __future__ import annotations

import contextlib
import functools
import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfopt.data.arrays import count_distinct
from tfopt.errors import ModelError
from tfopt.input_limits import refuse_device
from tfopt.tflite import flatbuffer
from tfopt.tflite.ops import OpFacts, facts_of

_NUMPY: dict[str, Any] = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
# Distinct values are counted up to this many (8 bits).
CODEBOOK = 256
# Least mean number of weights per nonzero value of a codebook.
_SHARED_BY = 2
# Up to so many weights, equal ones are no chance.
_SMALL = 128


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Args:
        name: The tensor's name; empty in a slimmed file.
        dtype: TFLite's name of the type, such as `INT8`.
        shape: Shape; 1 for an unknown batch.
        bytes: Bytes of constant data; 0 for an activation.
        size: Number of constant values, those that a sparse tensor leaves out included.
        zeros: Number of constant values that are exactly 0 (the zero point, where quantized).
        scales: Number of quantization scales: 0 not quantized, 1 per tensor, more per channel.
        parameter: Whether it is a weight or bias, and not a shape or an axis.
        distinct: Number of distinct values, zero included; None above `CODEBOOK`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    size: int
    zeros: int
    scales: int
    parameter: bool
    distinct: int | None = None

    @property
    def codebook(self) -> bool:
        """Whether the tensor is clustered: few distinct values for its size."""
        if self.distinct is None:
            return False
        return is_codebook(self.distinct - bool(self.zeros), self.size - self.zeros)


@dataclass(frozen=True)
class Op:
    """One op of a file, with its constant and its computed inputs."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    graph: int = 0
    """Number of the op's subgraph: 0 is the model, any other the inside of a loop or a branch."""

    @property
    def facts(self) -> OpFacts:
        """The facts about ops of its name."""
        return facts_of(self.name)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Its weights and biases."""
        return tuple(tensor for tensor in self.inputs if tensor.parameter)

    @property
    def kernels(self) -> tuple[Tensor, ...]:
        """Its weights of two dimensions or more."""
        return tuple(tensor for tensor in self.weights if len(tensor.shape) > 1)

    @property
    def integers(self) -> bool:
        """Whether it computes on quantized values."""
        activations = [t for t in (*self.inputs, *self.outputs) if not t.bytes]
        return not self.facts.border and any(t.dtype in ("INT8", "UINT8", "INT16") for t in activations)

    @property
    def floating(self) -> bool:
        """Whether it computes in floating point."""
        activations = [t for t in (*self.inputs, *self.outputs) if not t.bytes]
        computes = not (self.facts.border or self.facts.reads_shape)
        return computes and any(t.dtype.startswith("FLOAT") for t in activations)


@dataclass(frozen=True)
class FileSummary:
    """The contents of a `.tflite`.

    Args:
        content: Bytes of the file.
        ops: Every op, in order, of all subgraphs.
        inputs: Dtype and shape of the inputs by signature name.
        outputs: Dtype and shape of the outputs by signature name.
        tensors: Every constant tensor, each once.
    """

    content: bytes = field(repr=False)
    ops: tuple[Op, ...]
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    outputs: dict[str, tuple[str, tuple[int, ...]]]
    tensors: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """Size of the file in bytes."""
        return len(self.content)

    @functools.cached_property
    def gzip_bytes(self) -> int:
        """Size after gzip -9 in bytes; slow to compute."""
        return len(gzip.compress(self.content, 9, mtime=0))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(tensor.size for tensor in self.tensors if tensor.parameter)

    @property
    def nonzero(self) -> int:
        """Number of weights and biases that are not 0."""
        return sum(tensor.size - tensor.zeros for tensor in self.tensors if tensor.parameter)

    @property
    def sparsity(self) -> float:
        """The fraction of zeros, 0-1, in the weights of two dimensions or more: the kernels."""
        kernels = [t for t in self.tensors if t.parameter and len(t.shape) > 1]
        size = sum(tensor.size for tensor in kernels)
        return sum(tensor.zeros for tensor in kernels) / size if size else 0.0


def is_codebook(values: int, weights: int) -> bool:
    """Whether so few distinct values for so many weights, zeros not counted in either, come from clustering.

    Among the weights of a large kernel many can be equal by chance; in a small one a tenth of them never is.
    """
    return values * _SHARED_BY <= weights or (weights <= _SMALL and 10 * values <= 9 * weights)


def read(source: Path | bytes) -> FileSummary:
    """Reads a file without running it.

    Raises:
        ModelError: The source is not a complete TFLite file.
    """
    content, model = parse(source)
    with whole(source):
        return _kept_summary(content) if len(content) <= flatbuffer.KEPT_BYTES else _summary(content, model)


@functools.lru_cache(maxsize=flatbuffer.KEPT)
def _kept_summary(content: bytes) -> FileSummary:
    return _summary(content, flatbuffer.view(content))


def _summary(content: bytes, model: Any) -> FileSummary:
    tensors: dict[tuple[int, int], Tensor] = {}
    ops = []
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            tensors[number, index] = _tensor(model, tensor)
        for op in graph.operators or []:
            code = model.operatorCodes[op.opcodeIndex]
            inputs = tuple(tensors[number, i] for i in op.inputs if i >= 0)
            ops.append(Op(op_name(code), inputs, tuple(tensors[number, i] for i in op.outputs), number))
    constants: dict[int, Tensor] = {}
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            if tensors[number, index].bytes:
                constants.setdefault(tensor.buffer, tensors[number, index])
    taken, given = _signature(model, tensors)
    return FileSummary(content, tuple(ops), taken, given, tuple(constants.values()))


def constants(content: bytes) -> dict[str, np.ndarray]:
    """The float constants of a file's first graph by name, in their shapes; those in the sparse format are left out."""
    _, model = parse(content)
    with whole(content):
        return _float_constants(model)


def _float_constants(model: Any) -> dict[str, np.ndarray]:
    found = {}
    for tensor in model.subgraphs[0].tensors:
        data, dtype = model.buffers[tensor.buffer].data, _names("TensorType").get(tensor.type, "?")
        if data is not None and dtype == "FLOAT32" and tensor.sparsity is None and tensor.shape is not None:
            found[tensor.name.decode()] = np.frombuffer(bytes(bytearray(data)), np.float32).reshape(tensor.shape)
    return found


def output_names(content: bytes) -> tuple[str, ...]:
    """The names of the tensors that a file's first graph outputs."""
    _, model = parse(content)
    with whole(content):
        graph = model.subgraphs[0]
        return tuple((graph.tensors[int(index)].name or b"").decode() for index in graph.outputs)


def tensor_details(tensor: Any) -> dict[str, Any]:
    """`dtype`, `shape_signature` and `quantization` of a schema tensor, as LiteRT's interpreter would give them.

    A type that NumPy does not have is None.
    """
    scales, zero_point = _grid(tensor)
    single = (float(scales[0]), zero_point) if len(scales) == 1 else (0.0, 0)
    shape = tensor.shape if tensor.shape is not None else ()
    dtype = _NUMPY.get(_names("TensorType").get(tensor.type, "?"))
    return {"dtype": dtype, "shape_signature": np.asarray(shape, np.int32), "quantization": single}


def parse(source: Path | bytes) -> tuple[bytes, Any]:
    """The bytes of a file and its schema object, for reading only.

    Raises:
        ModelError: The source is not a complete TFLite file.
    """
    content = load(source)
    with whole(source):
        return content, flatbuffer.view(content)


def load(source: Path | bytes) -> bytes:
    """The bytes of a file that has the mark of a TFLite file.

    Raises:
        ModelError: The file cannot be read, or has no such mark.
    """
    name = str(source) if isinstance(source, Path) else "the file"
    if isinstance(source, Path):
        refuse_device(source, "the model", ModelError)
    try:
        content = source.read_bytes() if isinstance(source, Path) else bytes(source)
    except OSError as error:
        raise ModelError(f"{name}: {error.strerror}.") from None
    if content[flatbuffer.MARKED] != flatbuffer.MARK:
        raise ModelError(
            f"{name} is not a TFLite file: the mark TFL3 is missing. Give one that a converter has written."
        )
    return content


@contextlib.contextmanager
def whole(source: Path | bytes) -> Iterator[None]:
    """Says of a file that is read in the block that it is damaged, where reading fails in any way.

    Offsets and lengths that lead astray make of the generated reader whatever they will.

    Raises:
        ModelError: The block failed.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        name = str(source) if isinstance(source, Path) else "the file"
        raise ModelError(
            f"{name} is not a whole TFLite file: it is cut short or damaged. Copy it again, or convert anew."
        ) from error


@functools.cache
def _names(enum: str) -> dict[int, str]:
    return {value: key for key, value in vars(getattr(schema, enum)).items() if isinstance(value, int)}


def op_name(code: Any) -> str:
    """The name of an operator code: the schema's, or that of a custom op."""
    if code.customCode:
        return str(code.customCode, "utf-8", "replace")
    return _names("BuiltinOperator").get(flatbuffer.builtin_operator(code), "?")


def _grid(tensor: Any) -> tuple[Sequence[float], int]:
    """The scales of a schema tensor, none where it is not quantized, and its first zero point."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return (), 0
    zero_points = quantization.zeroPoint
    return quantization.scale, int(zero_points[0]) if zero_points is not None and len(zero_points) else 0


def _tensor(model: Any, tensor: Any) -> Tensor:
    dtype = _names("TensorType").get(tensor.type, "?")
    buffer = model.buffers[tensor.buffer]
    data = bytes(bytearray(buffer.data)) if buffer.data is not None else b""
    scales, zero_point = _grid(tensor)
    shape = tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ()))
    values = stored_values(data, dtype, shape)
    size, zeros = values.size, int((values == zero_point).sum())
    if tensor.sparsity is not None:
        size, zeros = math.prod(shape), math.prod(shape) - size + zeros
    return Tensor(
        name=(tensor.name or b"").decode(errors="replace"),
        dtype=dtype,
        shape=shape,
        bytes=len(data),
        size=size,
        zeros=zeros,
        scales=len(scales),
        parameter=bool(len(data)) and (dtype.startswith("FLOAT") or len(scales) > 0),
        distinct=count_distinct(values, CODEBOOK),
    )


def tensor_type(tensor: Any) -> str:
    """TFLite's name of the type of a schema tensor, such as `INT8`."""
    return _names("TensorType").get(tensor.type, "?")


def stored_values(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a buffer, `(values,)`, as they are stored: those of 4 and 2 bits one by one.

    Args:
        data: The buffer's bytes.
        dtype: TFLite's name of the type; one that NumPy does not have gives no values.
        shape: Shape of the tensor.
    """
    if dtype in ("INT4", "INT2"):  # packed, the low bits first
        bits = 4 if dtype == "INT4" else 2
        raw = np.frombuffer(data, np.uint8)[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)
        values = (raw.ravel() & (2**bits - 1)).astype(np.int8)
        values[values >= 2 ** (bits - 1)] -= 2**bits
        return values[: int(np.prod(shape))] if data else values
    return np.frombuffer(data, _NUMPY[dtype]) if dtype in _NUMPY else np.zeros(0)


def _signature(model: Any, tensors: Mapping[tuple[int, int], Tensor]) -> tuple[dict[str, Any], dict[str, Any]]:
    if model.signatureDefs:
        signature = model.signatureDefs[0]
        number = signature.subgraphIndex
        named = [{e.name.decode(): e.tensorIndex for e in entries} for entries in (signature.inputs, signature.outputs)]
    else:
        number, graph = 0, model.subgraphs[0]
        named = [{f"{i}": int(index) for i, index in enumerate(side)} for side in (graph.inputs, graph.outputs)]
    found = [{n: (tensors[number, i].dtype, tensors[number, i].shape) for n, i in side.items()} for side in named]
    return found[0], found[1]

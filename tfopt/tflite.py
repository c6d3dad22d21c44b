"""Reading a `.tflite` file (tensors, ops, bytes, zeros) and running it on LiteRT."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

from tfopt.errors import ConversionError, DataError, ModelError
from tfopt.noise import captured

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
# What sits at a border between float and integer parts, and so is neither.
BORDER_OPS = {"QUANTIZE", "DEQUANTIZE", "CAST"}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Args:
        name: As the converter wrote it; empty in a slimmed file.
        dtype: TFLite's name of its type, such as `INT8`.
        shape: Its dimensions; 1 stands for an unknown batch.
        bytes: Size of its constant data; 0 for an activation.
        size: Number of constant values.
        zeros: How many of them stand for exactly 0 (the zero point, where it is quantized).
        scales: Number of quantization scales: 0 not quantized, 1 per tensor, more per channel.
        parameter: Whether it is a weight or bias, and not a shape or an axis.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    size: int
    zeros: int
    scales: int
    parameter: bool


@dataclass(frozen=True)
class Op:
    """One op of a file, with its constant and its computed inputs."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Its weights and biases."""
        return tuple(tensor for tensor in self.inputs if tensor.parameter)

    @property
    def floating(self) -> bool:
        """Whether it computes in floating point."""
        activations = [t for t in (*self.inputs, *self.outputs) if not t.bytes]
        return self.name not in BORDER_OPS and any(t.dtype.startswith("FLOAT") for t in activations)


@dataclass(frozen=True)
class FileSummary:
    """What is in a `.tflite`.

    Args:
        bytes: The file's size.
        gzip_bytes: Its size after gzip -9.
        ops: Every op, in order, of all subgraphs.
        inputs: Dtype and shape of the inputs by signature name.
        outputs: The same of the outputs.
        tensors: Every constant tensor, each once.
    """

    bytes: int
    gzip_bytes: int
    ops: tuple[Op, ...]
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    outputs: dict[str, tuple[str, tuple[int, ...]]]
    tensors: tuple[Tensor, ...]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(tensor.size for tensor in self.tensors if tensor.parameter)

    @property
    def nonzero(self) -> int:
        """How many of them are not 0."""
        return sum(tensor.size - tensor.zeros for tensor in self.tensors if tensor.parameter)

    @property
    def sparsity(self) -> float:
        """The fraction of zeros, 0-1, in the weights of two dimensions or more: the kernels."""
        kernels = [t for t in self.tensors if t.parameter and len(t.shape) > 1]
        size = sum(tensor.size for tensor in kernels)
        return sum(tensor.zeros for tensor in kernels) / size if size else 0.0


def read(source: Path | bytes) -> FileSummary:
    """Reads a file without running it.

    Raises:
        ModelError: It is not a whole TFLite file.
    """
    content, model = _parse(source)
    tensors: dict[tuple[int, int], Tensor] = {}
    ops = []
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            tensors[number, index] = _tensor(model, tensor)
        for op in graph.operators or []:
            code = model.operatorCodes[op.opcodeIndex]
            inputs = tuple(tensors[number, i] for i in op.inputs if i >= 0)
            ops.append(Op(_op_name(code), inputs, tuple(tensors[number, i] for i in op.outputs)))
    constants: dict[int, Tensor] = {}
    for number, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            if tensors[number, index].bytes:
                constants.setdefault(tensor.buffer, tensors[number, index])
    taken, given = _signature(model, tensors)
    zipped = len(gzip.compress(content, 9, mtime=0))
    return FileSummary(len(content), zipped, tuple(ops), taken, given, tuple(constants.values()))


def with_signature(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The file with the signature `serving_default`, which a conversion by concrete function leaves out.

    Args:
        content: A file of one subgraph.
        inputs: Names for its inputs, in their order.
        outputs: Names for its outputs, in their order.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    graph = model.subgraphs[0]

    def entries(names: Sequence[str], indices: Sequence[int]) -> list[Any]:
        found = []
        for name, index in zip(names, indices, strict=True):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, int(index)
            found.append(entry)
        return found

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = entries(inputs, graph.inputs), entries(outputs, graph.outputs)
    model.signatureDefs = [signature]
    return pack(model, len(content))


def pack(model: Any, size: int) -> bytes:
    """A schema object as a file."""
    import flatbuffers

    builder = flatbuffers.Builder(size + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Runner:
    """A `.tflite` on LiteRT, one sample at a time, in and out of the units of the float model.

    Args:
        source: The file, or its bytes.
        threads: CPU threads of the interpreter.

    Raises:
        ModelError: It is not a TFLite file.
        ConversionError: LiteRT cannot run it; the error carries LiteRT's reason.
    """

    def __init__(self, source: Path | bytes, threads: int = 1):
        content, model = _parse(source)
        try:
            with captured():
                self._interpreter = Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
                self._runner = self._interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            raise ConversionError(f"LiteRT cannot load the file: {str(error).strip().splitlines()[0]}") from error
        # The runner sorts by name; a model's first output is the first of its signature.
        inputs, outputs = self._runner.get_input_details(), self._runner.get_output_details()
        signature = model.signatureDefs[0]
        self.inputs: dict[str, Any] = {entry.name.decode(): inputs[entry.name.decode()] for entry in signature.inputs}
        self.outputs: dict[str, Any] = {
            entry.name.decode(): outputs[entry.name.decode()] for entry in signature.outputs
        }

    def __call__(self, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs samples.

        Args:
            x: `(samples, ...)`, or a dict of such arrays by the file's input names, in the float model's units.

        Returns:
            The outputs by name, each `(samples, ...)`, in float32 where the file's output is quantized.

        Raises:
            DataError: An input is missing or has another shape.
            ConversionError: LiteRT failed while running.
        """
        arrays = x if isinstance(x, Mapping) else {next(iter(self.inputs)): x}
        if missing := [name for name in self.inputs if name not in arrays]:
            raise DataError(f"the file has an input {missing[0]!r}, and the data has only {', '.join(arrays)}.")
        for name, detail in self.inputs.items():
            _check_shape(name, np.asarray(arrays[name]), detail)
        feeds = {name: _quantized(np.asarray(arrays[name]), detail) for name, detail in self.inputs.items()}
        count = len(next(iter(feeds.values())))
        if count == 0 or any(len(feed) != count for feed in feeds.values()):
            raise DataError(f"every input needs the same number of samples, at least one. Received: {_counts(feeds)}.")
        collected: dict[str, list[np.ndarray]] = {name: [] for name in self.outputs}
        for index in range(count):
            try:
                result = self._runner(**{name: feed[index : index + 1] for name, feed in feeds.items()})
            except (RuntimeError, ValueError) as error:
                raise ConversionError(f"LiteRT cannot run the file: {str(error).strip().splitlines()[0]}") from error
            for name, value in result.items():
                collected[name].append(value)
        return {n: _dequantized(np.concatenate(v), self.outputs[n]) for n, v in collected.items()}


def _counts(feeds: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {len(feed)}" for name, feed in feeds.items())


def _check_shape(name: str, array: np.ndarray, detail: Mapping[str, Any]) -> None:
    want = tuple(int(n) for n in detail["shape_signature"][1:])
    if array.ndim - 1 != len(want) or any(w not in (-1, have) for w, have in zip(want, array.shape[1:], strict=True)):
        raise DataError(f"input {name!r} takes samples of shape {want}. Received: {array.shape[1:]}.")


def _quantized(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    dtype = detail["dtype"]
    if not scale:
        return array.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.round(array / np.float32(scale)) + zero_point, limits.min, limits.max).astype(dtype)


def _dequantized(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    return (array.astype(np.float32) - zero_point) * np.float32(scale) if scale else array


def _parse(source: Path | bytes) -> tuple[bytes, Any]:
    name = str(source) if isinstance(source, Path) else "the file"
    try:
        content = source.read_bytes() if isinstance(source, Path) else bytes(source)
    except OSError as error:
        raise ModelError(f"{name}: {error.strerror}.") from None
    if content[4:8] != b"TFL3":
        raise ModelError(f"{name} is not a TFLite file: the mark TFL3 is missing.")
    try:
        return content, flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    except Exception as error:  # the generated reader fails in whatever way a cut-off offset makes it
        raise ModelError(f"{name} is not a whole TFLite file: {type(error).__name__}.") from error


@functools.cache
def _names(enum: str) -> dict[int, str]:
    return {value: key for key, value in vars(getattr(schema, enum)).items() if isinstance(value, int)}


def _op_name(code: Any) -> str:
    if code.customCode:
        return str(code.customCode, "utf-8", "replace")
    return _names("BuiltinOperator").get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")


def _tensor(model: Any, tensor: Any) -> Tensor:
    dtype = _names("TensorType").get(tensor.type, "?")
    buffer = model.buffers[tensor.buffer]
    data = bytes(bytearray(buffer.data)) if buffer.data is not None else b""
    quantization = tensor.quantization
    scale: Any = quantization.scale if quantization is not None and quantization.scale is not None else ()
    shape = tuple(int(n) for n in (tensor.shape if tensor.shape is not None else ()))
    values = _values(data, dtype, shape)
    zero_point: Any = quantization.zeroPoint if len(scale) and quantization.zeroPoint is not None else ()
    zero = int(zero_point[0]) if len(zero_point) else 0
    return Tensor(
        name=(tensor.name or b"").decode(errors="replace"),
        dtype=dtype,
        shape=shape,
        bytes=len(data),
        size=values.size,
        zeros=int((values == zero).sum()),
        scales=len(scale),
        parameter=bool(len(data)) and (dtype.startswith("FLOAT") or len(scale) > 0),
    )


def _values(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
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

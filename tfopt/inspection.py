"""What is in a model file: its layers or ops with dtypes, bytes and zeros."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.errors import ModelError, did_you_mean_file
from tfopt.tabular import Tabular

if TYPE_CHECKING:
    from tfopt.recipe.details.usage import Usage
    from tfopt.tflite.file import FileSummary, Op


@dataclass(frozen=True)
class PartSummary:
    """A layer of a Keras model, or an op of a `.tflite`.

    Args:
        name: The layer's path, or the op's output tensor (empty in a slimmed file).
        kind: The layer's class, or the op's name.
        dtype: Type of the weights; of the computation where there are none.
        shape: Shape of the output, such as `28x28x8`; without the batch for a layer.
        parameters: Number of weights and biases.
        bytes: Size of weights and biases in bytes.
        zeros: Number of weights and biases that are exactly 0.
    """

    name: str
    kind: str
    dtype: str
    shape: str
    parameters: int
    bytes: int
    zeros: int


@dataclass(frozen=True, repr=False)
class ModelSummary(Tabular):
    """A model's parts and totals.

    Args:
        format: `keras` or `tflite`.
        bytes: Size of the file in bytes; None for a model in memory.
        gzip_bytes: Size after gzip -9 in bytes; None for a model in memory.
        inputs: Name, type and shape of each input, one line each.
        outputs: Name, type and shape of each output, one line each.
        parts: Layers or ops, in order.
        remarks: Notable facts about a `.tflite`: ops in float among integers, loops, ops that LiteRT does not
            have, kernels that are stored sparse.
        usage: How a `.tflite` is fed and read; `tfopt.snippet` makes the code of it.
    """

    format: str
    bytes: int | None
    gzip_bytes: int | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parts: tuple[PartSummary, ...]
    remarks: tuple[str, ...] = ()
    usage: Usage | None = None

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(part.parameters for part in self.parts)

    @property
    def zeros(self) -> int:
        """Number of weights and biases that are exactly 0."""
        return sum(part.zeros for part in self.parts)

    @property
    def title(self) -> str:
        """The kind of file, its parameters and its size."""
        size = f", {self.bytes:,} B, gzip -9 {self.gzip_bytes:,} B" if self.bytes is not None else ""
        return f"{self.format}, {self.parameters:,} parameters, {self.zeros:,} of them zero{size}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer or op."""
        return [asdict(part) for part in self.parts]


def inspect(model: Any, trust: bool = False) -> ModelSummary:
    """Summarizes the layers of a Keras model or the ops of a `.tflite`.

    Args:
        model: A `.keras`, `.h5` or `.tflite` path, a SavedModel folder, the bytes of a `.tflite`, or a Keras model.
        trust: Load Python code that a Keras file carries (a Lambda layer).

    Raises:
        ModelError: `model` is none of these, or the file is cut short.
    """
    if isinstance(model, bytes):
        return _of_tflite(model)
    if not isinstance(model, str | os.PathLike):
        if not hasattr(model, "trainable_variables"):
            raise ModelError(f"a model is a path, the bytes of a .tflite, or a Keras model. Received: {model!r:.80}.")
        from tfopt.models import loading
        from tfopt.models.keras2.migration import OutputCheck

        return _of_keras(loading.as_keras3(model, comparison=OutputCheck(wanted=False)), None)
    path = Path(model)
    if not path.exists():
        raise ModelError(f"there is no file {path}.{did_you_mean_file(path)}")
    folder = path.is_dir()
    if folder and not (path / "saved_model.pb").is_file():
        raise ModelError(f"{path} is a folder. Name a .keras, .h5 or .tflite file in it, or a SavedModel.")
    from tfopt.tflite.flatbuffer import is_tflite

    if not folder and is_tflite(path):
        return _of_tflite(path)
    from tfopt.models.foreign_files import refuse_foreign
    from tfopt.models.stored_model import FILES

    if not folder and path.suffix not in FILES:
        refuse_foreign(path)
        raise ModelError(f"{path} is not a model file. tfopt reads .keras, .h5 and .tflite.")
    from tfopt.models import loading
    from tfopt.models.keras2.migration import OutputCheck
    from tfopt.output_capture import captured

    with captured():
        loaded = loading.as_keras3(path, trust=trust, comparison=OutputCheck(wanted=False))
    return _of_keras(loaded, None if folder else path)


def _of_tflite(source: Path | bytes) -> ModelSummary:
    from tfopt.deployment.file_usage import recorded_usage, usage
    from tfopt.tflite.file import read

    summary = read(source)
    seen: set[int] = set()
    parts = []
    for op in summary.ops:
        own = [t for t in op.weights if id(t) not in seen]  # a weight that two ops share counts once
        seen.update(id(t) for t in own)
        computed = [t for t in (*op.outputs, *op.inputs) if not t.bytes]
        dtypes = dict.fromkeys(t.dtype.lower() for t in (own or computed[:1]))
        output = op.outputs[0] if op.outputs else None
        parts.append(
            PartSummary(
                name=output.name if output else "",
                kind=op.name,
                dtype="+".join(dtypes),
                shape="x".join(map(str, output.shape)) if output else "",
                parameters=sum(t.size for t in own),
                bytes=sum(t.bytes for t in own),
                zeros=sum(t.zeros for t in own),
            )
        )

    def lines(side: dict[str, tuple[str, tuple[int, ...]]]) -> tuple[str, ...]:
        return tuple(f"{name}: {dtype.lower()} {'x'.join(map(str, shape))}" for name, (dtype, shape) in side.items())

    sizes = summary.bytes, summary.gzip_bytes
    ends = lines(summary.inputs), lines(summary.outputs)
    found = recorded_usage(source) if isinstance(source, Path) else usage(source)
    return ModelSummary("tflite", *sizes, *ends, tuple(parts), (*_remarks(summary), *_on_state(found)), found)


def _remarks(summary: FileSummary) -> Iterator[str]:
    """Notable facts about a file, one line each."""
    integers = [op for op in summary.ops if op.integers]
    floating = [op for op in summary.ops if op.floating]
    if integers and floating:
        yield f"in float among integers: {_counted(floating)}"
    if loops := [op for op in summary.ops if op.facts.control]:
        yield f"loops and branches: {_counted(loops)}"
    if flex := [op for op in summary.ops if op.facts.flex]:
        yield f"not LiteRT's own, they need TensorFlow in the app: {_counted(flex)}"
    if sparse := [op for op in summary.ops if op.facts.unpacks == "sparse"]:
        yield f"stored sparse and unpacked when the file is loaded: {len(sparse)} kernels"


def _on_state(usage: Usage) -> Iterator[str]:
    """Whether a file keeps state from run to run, and what to do about it."""
    if usage.streams:
        yield "it carries a sequence on from run to run: reset_all_variables() where a new one begins, and not before"
    elif usage.stateful:
        yield "it keeps its state from run to run: reset_all_variables() before each sequence"


def _counted(ops: Sequence[Op]) -> str:
    counts = Counter(op.name for op in ops)
    return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in counts.items())


def _of_keras(model: Any, path: Path | None) -> ModelSummary:
    from tfopt.keras_private import calls_of
    from tfopt.models.signature import outputs_of
    from tfopt.models.weight_statistics import layers_with_variables

    parts = []
    for place, variables in layers_with_variables(model):
        layer = place.layer
        arrays = [np.asarray(v) for v in variables]
        output = getattr(getattr(layer, "output", None), "shape", None) if calls_of(layer) else None
        parts.append(
            PartSummary(
                name=place.path,
                kind=type(layer).__name__,
                dtype="+".join(dict.fromkeys(str(v.dtype) for v in variables)) or str(layer.compute_dtype),
                shape="x".join(str(n or "?") for n in output[1:]) if output else "",
                parameters=sum(a.size for a in arrays),
                bytes=sum(a.nbytes for a in arrays),
                zeros=sum(int(a.size - np.count_nonzero(a)) for a in arrays),
            )
        )
    content = path.read_bytes() if path else None
    size = len(content) if content else None
    zipped = len(gzip.compress(content, 9)) if content else None

    def lines(tensors: dict[str, Any]) -> tuple[str, ...]:
        return tuple(f"{name}: {t.dtype} {'x'.join(str(n or '?') for n in t.shape[1:])}" for name, t in tensors.items())

    inputs = lines({tensor.name: tensor for tensor in getattr(model, "inputs", None) or ()})
    outputs = lines(outputs_of(model))
    return ModelSummary("keras", size, zipped, inputs, outputs, tuple(parts))

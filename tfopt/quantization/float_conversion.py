"""The one float conversion: Keras to TFLite by a concrete function, with the layer of every op.

This route is faster than `TFLiteConverter.from_keras_model`, converts recurrent layers that it refuses, and leaves out
the ops that serve a changing batch. It is called without `trackable_obj`, against the converter's own advice: with a
Keras 3 model that argument gives a file whose variables are never initialised.

Keras makes the names of a graph unique, so the layer `conv2d` may appear in it as `conv2d_1` while another is called
that. Each layer is therefore traced inside a name scope of its own number, and the numbers become paths afterwards.
Operations between the layers of a functional model are numbered as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from litert_quantizer.quantizer import Quantizer

from tfopt.errors import ConversionError, ModelError, memory_fault, storage_fault
from tfopt.keras_private import own_variables
from tfopt.models import signature
from tfopt.models.layers import LayerRef, check_names, operations, prunable, walk
from tfopt.models.read_models import ReadModels
from tfopt.output_capture import captured
from tfopt.quantization import identities
from tfopt.quantization.bias_rewrite import factor_out_kernels
from tfopt.quantization.calibration_data import OPEN
from tfopt.quantization.clustered_kernels import codebook
from tfopt.quantization.identities import Identities
from tfopt.quantization.name_scopes import scoped
from tfopt.quantization.op_replacement import can_replace, ops_replaced
from tfopt.quantization.recurrent.fused_call import fused_calls
from tfopt.quantization.recurrent.fused_op import fuse, unknown_ops
from tfopt.quantization.refusals import check_text, explained
from tfopt.quantization.root_rewrite import bound_roots
from tfopt.quantization.split_rewrite import cut_splits
from tfopt.tensorflow_private import frozen_converter
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op, constants, output_names, read

_SCOPE = re.compile(r"layer\.(\d+)/")
# TensorFlow's ops that become ops with a kernel.
_PRODUCTS = {"MatMul", "BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D", "Einsum"}
_BOLD = re.compile(r"\x1b\[\d*m")  # Keras writes its errors for a terminal


# Makes the float file of a model from samples, a batch and whether it is sparse, as `to_float` does.
FloatConversion: TypeAlias = "Callable[[keras.Model, Any, int | None, bool, str], FloatModel]"


@dataclass(frozen=True)
class FloatModel:
    """A float32 `.tflite` that knows which Keras layers its ops came from.

    Args:
        content: Bytes of the file.
        ops: The ops of the file, in order.
        owners: For each op the layers and operations that it computes, only the one with the kernel where there is
            one; empty for what a subclassed model computes between its layers.
        places: Every layer of the Keras model, and every operation between layers of a functional one.
        loops: For each inner graph, the names of its inputs and, as the next entry, of its outputs.
        replaced: Whether ops were replaced that TFLite does not have (`op_replacement`).
        unfused: Why a recurrent layer is not one op, by path, where it was asked for.
    """

    content: bytes
    ops: tuple[Op, ...]
    owners: tuple[tuple[LayerRef, ...], ...]
    places: tuple[LayerRef, ...]
    loops: tuple[tuple[str, ...], ...] = ()
    replaced: bool = False
    unfused: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def slim_size(self) -> int:
        """Size in bytes of the file without tensor names."""
        return len(flatbuffer.slim(self.content))

    @functools.cached_property
    def size(self) -> int:
        """Size in bytes of the file as it is written with tensor names."""
        return len(flatbuffer.pack(flatbuffer.parse(self.content)))

    @property
    def engine(self) -> Any:
        """litert-quantizer with the file read, for all that is made of it: it changes nothing of what it has read.

        That of a large file is kept by nobody.
        """
        return self._engine if len(self.content) <= flatbuffer.KEPT_BYTES else Quantizer(bytearray(self.content))

    @functools.cached_property
    def _engine(self) -> Any:
        return Quantizer(bytearray(self.content))

    @functools.cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the file's inputs."""
        return tuple(read(self.content).inputs)

    @functools.cached_property
    def identities(self) -> Identities:
        """What is ids and indices in the file, and stays in float."""
        return identities.find(self.ops, output_names(self.content))

    @functools.cached_property
    def constants(self) -> dict[str, np.ndarray]:
        """The weights and biases of the model's own graph by name, in their shapes."""
        return constants(self.content)

    @functools.cached_property
    def clustered(self) -> bool:
        """Whether some kernel of the Keras model is clustered."""
        return any(codebook(kernel) for place in self.places for kernel in prunable(place, asked=True))

    @functools.cached_property
    def unused_inputs(self) -> tuple[str, ...]:
        """The names of the inputs that no output depends on."""
        graph = flatbuffer.view(self.content).subgraphs[0]
        taken = {int(i) for op in graph.operators for i in op.inputs} | {int(i) for i in graph.outputs}
        return tuple(graph.tensors[int(i)].name.decode() for i in graph.inputs if int(i) not in taken)


def to_float(
    model: keras.Model, sample: Any = None, batch: int | None = 1, sparse: bool = False, recurrent: str = "loop"
) -> FloatModel:
    """A float32 `.tflite` of a Keras model, with a signature of its input and output names.

    Args:
        model: A built Keras 3 model.
        sample: One or more samples, `(samples, ...)` or a dict of such arrays by input name; needed for a subclassed
            model, which does not know its input shapes.
        batch: Samples per run of the file; None for an input that can be resized.
        sparse: Whether kernels with many zeros are stored in TFLite's sparse format.
        recurrent: `auto` or `fused` for recurrent layers as one op each where there is one; else they are as the model
            computes them: loops, or unrolled.

    Raises:
        ModelError: The model does not know its inputs and no sample says them.
        ConversionError: The converter refuses it, with the converter's reason.
    """
    check_text(model, sample)
    return _converted(model, sample, batch, sparse, recurrent)


def read_from(reads: ReadModels) -> FloatConversion:
    """`to_float` that converts each model which nobody changes once.

    Args:
        reads: Knows these models.
    """

    def known(model: keras.Model, sample: Any, batch: int | None, sparse: bool, recurrent: str = "loop") -> FloatModel:
        if not any(isinstance(place.layer, keras.layers.RNN) for place in walk(model)):
            recurrent = "loop"  # which is then the file of every form
        shapes = [(np.shape(part)[1:], np.asarray(part).dtype.name) for part in keras.tree.flatten(sample)]
        settings = ("float file", batch, sparse, recurrent, tuple(shapes))
        return reads.computed(model, settings, lambda: to_float(model, sample, batch, sparse, recurrent))

    return known


def _converted(
    model: keras.Model, sample: Any, batch: int | None, sparse: bool, recurrent: str, replaced: bool = False
) -> FloatModel:
    """`to_float` without, or with, ops replaced that TFLite does not have."""
    with captured() as noise:
        try:
            traced = trace(model, sample, batch, replaced, recurrent)
            converter = frozen_converter(traced.function)
            converter.allow_custom_ops = traced.fused
            if sparse:
                converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
            parsed = flatbuffer.parse(converter.convert())
            if unknown_ops(parsed):  # let it say so itself; or a layer is in a loop of the user's own
                return _converted(model, sample, batch, sparse, "loop", replaced)
            _give_back_memory()
        except (ModelError, ConversionError):
            raise
        except Exception as error:
            if (full := memory_fault(error)) is not None:  # which is no refusal of the model
                raise MemoryError(full) from error
            if storage_fault(error):
                raise
            if batch is None and "TensorListReserve" in str(error):
                raise ModelError("a recurrent layer takes no batch of any size. Give batch a number.") from error
            why = reason(str(error) or type(error).__name__, noise.text())
            if not replaced and can_replace(why):
                return _converted(model, sample, batch, sparse, recurrent, replaced=True)
            raise ConversionError(explained(model, why, lambda: trace(model, sample, batch, replaced))) from error
    return replace(_named(parsed, traced, sample), replaced=replaced, unfused=traced.unfused)


def _give_back_memory() -> None:
    """Hands to the system what was freed: glibc keeps the converter's copies of the weights for the process.

    Where the C library has no such call, nothing is done.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True)
class TracedModel:
    """A model traced as one TensorFlow function.

    Args:
        function: Takes the inputs in the order of `inputs` and returns the outputs in that of `outputs`.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        results: Names of the ops that compute the outputs.
        places: Every layer of the model, then every operation between layers; the ops of number `i` are in the name
            scope `layer.i`.
        fused: Whether some recurrent layer is one op, which the converter does not know.
        unfused: Why a recurrent layer is not one op, by path, where it was asked for.
    """

    function: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    results: tuple[str, ...]
    places: tuple[LayerRef, ...]
    fused: bool = False
    unfused: Mapping[str, str] = field(default_factory=dict)

    def readable(self, name: str) -> str:
        """A name of the graph with layer paths in place of layer numbers."""
        return _SCOPE.sub(lambda match: f"{self.places[int(match[1])].path}/", name)


def trace(
    model: keras.Model, sample: Any, batch: int | None, replaced: bool = False, recurrent: str = "loop"
) -> TracedModel:
    """The model in inference mode as a concrete function, with ops replaced that TFLite does not have, if asked.

    With recurrent layers as one op each (`recurrent`, see `to_float`) it is for the converter alone: it does not run.

    Raises:
        ModelError: TensorFlow does not take the name of a layer.
    """
    check_names(model)
    specs = _inputs(model, sample, batch)
    names = tuple(spec.name for spec in specs)
    outputs: dict[str, str] = {}

    @tf.autograph.experimental.do_not_convert
    def function(*tensors: Any) -> Any:
        named = signature.call(model, dict(zip(names, tensors, strict=True)))
        outputs.clear()
        outputs.update({name: tensor.op.name for name, tensor in named.items()})
        return list(named.values())

    places = (*walk(model), *operations(model))
    by_layer = scoped([place.layer for place in places], "layer")
    with fused_calls(places, recurrent) as found, by_layer, ops_replaced() if replaced else contextlib.nullcontext():
        concrete = tf.function(function).get_concrete_function(*specs)
    return TracedModel(concrete, names, tuple(outputs), tuple(outputs.values()), places, found.calls > 0, found.left)


def _named(parsed: Any, traced: TracedModel, sample: Any) -> FloatModel:
    """The file with its signature, and with layer paths in the names of its tensors."""
    fuse(parsed)
    factor_out_kernels(parsed)
    cut_splits(parsed)
    bound_roots(parsed)
    _size(parsed.subgraphs[0], traced.inputs, sample)
    flatbuffer.with_signature(parsed, traced.inputs, traced.outputs)
    graph = parsed.subgraphs[0]
    results = {
        graph.tensors[int(index)].name.decode(): name
        for index, name in zip(graph.outputs, traced.results, strict=True)
        if not _SCOPE.search(graph.tensors[int(index)].name.decode())
    }
    inputs = dict(zip((graph.tensors[int(i)].name.decode() for i in graph.inputs), traced.inputs, strict=True))
    known: dict[str, tuple[LayerRef, ...]] = {}
    origins: dict[str, str] = {}

    def new(old: str) -> str:
        if old in inputs:
            return inputs[old]
        name = results.get(old, old)
        origins[old] = name
        known[old] = tuple(traced.places[int(n)] for n in dict.fromkeys(_SCOPE.findall(name)))
        return traced.readable(name)

    renamed = flatbuffer.rename(parsed, new)
    known = {renamed[old]: places for old, places in known.items()}
    origins = {renamed[old]: origin for old, origin in origins.items()}
    loops = tuple(
        tuple(inner.tensors[int(i)].name.decode() for i in ends)
        for inner in parsed.subgraphs[1:]
        for ends in (inner.inputs, inner.outputs)
    )
    named = flatbuffer.pack(parsed)
    ops = read(named).ops
    owners = tuple(_multiplied(op, _owners(op, known), traced, origins) for op in ops)
    return FloatModel(named, ops, owners, traced.places, loops)


def _size(graph: Any, names: Sequence[str], sample: Any) -> None:
    """Gives open dimensions of the inputs a size to start with: an image of the converter's 1 x 1 loads nowhere."""
    parts = sample if isinstance(sample, list | tuple) else [sample]
    arrays = sample if isinstance(sample, Mapping) else dict(zip(names, parts, strict=False))
    for index, name in zip(graph.inputs, names, strict=True):
        tensor, seen = graph.tensors[int(index)], np.shape(arrays.get(name, ()))
        if tensor.shapeSignature is not None:
            rest = zip(tensor.shapeSignature[1:], (*seen[1:], *(OPEN for _ in tensor.shape)), strict=False)
            tensor.shape = np.array([tensor.shape[0], *(have if want < 0 else want for want, have in rest)], np.int32)


def _owners(op: Op, known: Mapping[str, Sequence[LayerRef]]) -> tuple[LayerRef, ...]:
    places = tuple(dict.fromkeys(place for tensor in op.outputs for place in known.get(tensor.name, ())))
    if not op.kernels:
        return places
    return tuple(place for place in places if _may_hold_kernel(place.layer)) or places


def _multiplied(
    op: Op, own: tuple[LayerRef, ...], traced: TracedModel, origins: Mapping[str, str]
) -> tuple[LayerRef, ...]:
    """The owners of an op; where it is named after what was folded into it alone, the layer with the kernel behind.

    A dense layer with a batch normalization after it is one op, which the converter names after the normalization.
    """
    if op.facts.data_kernel_bias is None or not op.kernels or any(_may_hold_kernel(place.layer) for place in own):
        return own
    operations = {operation.name: operation for operation in traced.function.graph.get_operations()}
    parts = [part for tensor in op.outputs for part in origins.get(tensor.name, "").split(";")]
    waiting = [operations[part] for part in parts if part in operations]
    seen = {operation.name for operation in waiting}
    for operation in waiting:  # grows in the loop
        places = [traced.places[int(number)] for number in _SCOPE.findall(operation.name)]
        if places and _may_hold_kernel(places[-1].layer):
            return (places[-1],)
        if operation.type in _PRODUCTS:  # with a constant of its own, as keras.ops.matmul may have
            return tuple(places[-1:]) or own
        for tensor in operation.inputs:
            if tensor.op.name not in seen:
                seen.add(tensor.op.name)
                waiting.append(tensor.op)
    return own


def _may_hold_kernel(layer: Any) -> bool:
    return isinstance(layer, keras.Layer) and any(len(v.shape) > 1 for v in own_variables(layer))


def _inputs(model: keras.Model, sample: Any, batch: int | None) -> list[tf.TensorSpec]:
    """The specs of the model's inputs, with the batch size and by name."""
    if tensors := getattr(model, "inputs", None):
        return [tf.TensorSpec((batch, *t.shape[1:]), t.dtype, name=t.name) for t in tensors]
    if sample is None:
        raise ModelError(
            "a subclassed model does not know its input shape: hand over calibration samples, which show it."
        )
    if isinstance(sample, list | tuple):
        raise ModelError(
            "a subclassed model of several inputs needs samples as a dict, by the names that its call() takes."
        )
    arrays = sample if isinstance(sample, Mapping) else {"input": sample}
    specs = []
    for name, array in arrays.items():
        array = np.asarray(array)
        dtype = tf.float32 if array.dtype.kind == "f" else array.dtype
        specs.append(tf.TensorSpec((batch, *array.shape[1:]), dtype, name=name))
    return specs


def reason(error: str, noise: str) -> str:
    """The line of the converter's output that names the cause."""
    lines = [line.strip() for line in f"{error}\n{noise}".splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "is neither a custom op nor a flex op" in line]
    own = [line for line in error.strip().splitlines() if not line.startswith("Exception encountered when calling")]
    own = [line for line in own if line.strip()] or [error.strip()]
    trace = own[0] == "in user code:" or "Traceback (most recent call last):" in own
    text = telling[0] if telling else own[-1 if trace else 0].strip()
    return _SCOPE.sub("", _BOLD.sub("", text).split("error: ")[-1])[:300]

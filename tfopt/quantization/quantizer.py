"""Quantization of a float file by litert-quantizer, configured op by op."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import algorithm_manager, qtyping
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.utils import tfl_flatbuffer_utils

from tfopt.errors import ConversionError, memory_fault
from tfopt.output_capture import captured
from tfopt.quantization.bias_ranges import kernel_ranges
from tfopt.quantization.calibration import as_range, widen_empty_ranges
from tfopt.quantization.codebook_ranges import codebook_ranges, equal_ranges
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.identities import Identities
from tfopt.quantization.op_replacement import stay_in_float
from tfopt.quantization.quantizer_repairs import settled
from tfopt.quantization.recurrent.forms import with_recurrent_forms
from tfopt.recipe.modes import MODES, Mode
from tfopt.tflite.file import Op

# litert-quantizer's name for each op of the TFLite schema.
_OPERATIONS = {
    name: tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME[code]
    for name, code in vars(schema.BuiltinOperator).items()
    if isinstance(code, int) and code in tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME
}
_BITS = {"int4": 4, "int8": 8, "int16": 8}
# Quantizes nothing but the ops that are named one by one.
_NAMED_OPS_ALONE = Mode("none", "nothing but what is named", weights="int8", activation_bits=8)
ALGORITHMS = {"minmax": AlgorithmName.MIN_MAX_UNIFORM_QUANT, "octav": AlgorithmName.OCTAV}


def quantize(
    source: FloatModel,
    mode: str,
    ranges: Any = None,
    precisions: Mapping[int, str] | None = None,
    io: str | None = None,
    algorithms: Mapping[int, str] | None = None,
    scales: str = "auto",
    one_scale: Collection[int] = (),
) -> bytes:
    """Quantizes a float file. The tensors keep their names.

    Args:
        source: The float file.
        mode: A mode in `MODES` that quantizes; or `none` to quantize only the ops in `precisions`.
        ranges: Ranges of every activation (`ActivationExtremes.ranges`), for modes that compute in integers.
        precisions: `int4`, `int8`, `int16` or `float` by op number in `source.ops`; other ops take the mode's.
        io: Type of the file's inputs and outputs where they are integers; `float32` leaves them in floating point.
        algorithms: Algorithm for the kernel's scale by op number: `minmax` covers the largest weight, `octav` finds
            the scale of least error (iterated clipping of outliers).
        scales: `channel` for per-channel scales of kernels, `tensor` for per-tensor; `auto` is `channel`, but `tensor`
            for clustered kernels, whose few distinct values many scales would multiply; where a batch normalization
            was folded into such a kernel, `channel` with scales at which all channels have the same integers.
        one_scale: Numbers of ops whose kernels have per-tensor scales besides.

    Returns:
        The bytes of the quantized file.

    Raises:
        ConversionError: The quantizer refuses the file, with its reason.

    References:
        Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
        arXiv:1712.05877; the TFLite 8-bit specification, ai.google.dev/edge/litert/models/quantization_spec;
        for `octav` Sakr et al., Optimal clipping and magnitude-aware differentiation for improved quantization-aware
        training, arXiv:2206.06501.
    """
    engine = source.engine
    engine.load_quantization_recipe([])
    with captured() as noise, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            one = {i for i, op in enumerate(source.ops) if i in one_scale or _one_scale(op, scales)}
            by_channel, given = _ranges_by_channel(source, _mode(mode), scales, one), dict(precisions or {})
            per_tensor = _configure(engine, source, _mode(mode), given, io, algorithms or {}, one, by_channel)
            if ranges or by_channel:
                unused = {name: as_range(0, 1) for name in source.unused_inputs}  # asked for, and left in float
                ranges = {**by_channel, **unused, **widen_empty_ranges(source.ops, ranges or {})}
                ranges = {**ranges, **kernel_ranges(source, ranges, per_tensor)}
            content = bytes(engine.quantize(ranges, enable_progress_report=False).quantized_model)
            floats = io == "float32" or mode == _NAMED_OPS_ALONE.name
            held = source.identities.tensors & set(source.inputs)
            content = settled(content, floats, held if held and _mode(mode).static and not floats else None)
            return _with_recurrent_forms(content, source, _mode(mode), given, ranges or {}, one)
        except ConversionError:
            raise
        except Exception as error:
            if (full := memory_fault(error)) is not None:  # which is no refusal of the model
                raise MemoryError(full) from error
            text = (str(error).strip() or noise.text().strip() or type(error).__name__).splitlines()[0]
            raise ConversionError(f"the quantizer refuses the model in mode {mode}: {text[:300]}") from error


def _with_recurrent_forms(
    content: bytes, source: FloatModel, mode: Mode, precisions: Mapping[int, str], ranges: Any, one: Collection[int]
) -> bytes:
    """The file with recurrent ops in the form of its mode, which the quantizer has left in float."""
    other = "float" if mode is _NAMED_OPS_ALONE or mode.name == "float32" else mode.precision
    kept = dict.fromkeys(source.identities.ops, "float") if mode.static else {}
    given = {**precisions, **kept}
    ops = {i: op for i, op in enumerate(source.ops) if op.facts.recurrent and given.get(i, other) != "float"}
    names = {op.outputs[0].name for op in ops.values()}
    one_scale = {op.outputs[0].name for i, op in ops.items() if i in one}
    return with_recurrent_forms(content, mode, names, one_scale, ranges)


def supports(op: Op, mode: str, precision: str, per_tensor: bool = False) -> bool:
    """Whether the quantizer can write an op in a mode at a precision, per-tensor or per-channel."""
    if precision == "float":
        return True
    if op.facts.recurrent and not op.graph:
        return precision == "int8" and _mode(mode).fuses
    if op.graph or op.name not in _OPERATIONS or stay_in_float([op]):
        return False
    if precision == "int4" and not (op.kernels and _four_bits(op, mode)):
        return False
    try:
        algorithm_manager.check_op_quantization_config(
            AlgorithmName.MIN_MAX_UNIFORM_QUANT, _OPERATIONS[op.name], _config(_mode(mode), precision, per_tensor)
        )
    except ValueError:
        return False
    return True


def _four_bits(op: Op, mode: str) -> bool:
    """Whether the quantizer writes an op's kernel in 4 bits; its own check accepts more ops and leaves them alone."""
    return op.facts.int4 == "any" or (op.facts.int4 == "float" and not _mode(mode).static)


def _mode(name: str) -> Mode:
    return _NAMED_OPS_ALONE if name == _NAMED_OPS_ALONE.name else MODES[name]


def shares_values(op: Op) -> bool:
    """Whether a kernel of the op is clustered: it has few distinct values."""
    return any(tensor.codebook for tensor in op.kernels)


def _one_scale(op: Op, scales: str) -> bool:
    """Whether the kernel of an op gets one scale, as far as the settings say."""
    return bool(op.kernels) and (scales == "tensor" or (scales == "auto" and shares_values(op)))


def _ranges_by_channel(source: FloatModel, mode: Mode, scales: str, one: Collection[int]) -> dict[str, Any]:
    """The ranges of kernels that have a scale for each channel, and not by the channel's own largest weight."""
    folded = codebook_ranges(source) if scales == "auto" and not mode.weights.startswith("float") else {}
    hybrid = not mode.static and not mode.weight_only and mode.weights.startswith("int")
    ops = (op for i, op in enumerate(source.ops) if hybrid and op.facts.hybrid_by_channel and i in one)
    return {**equal_ranges(source, (op for op in ops if not op.graph)), **folded}


def _config(mode: Mode, precision: str, per_tensor: bool = False) -> Any:
    """The litert-quantizer configuration for one op."""
    weights = qtyping.TensorQuantizationConfig(
        num_bits=_BITS[precision],
        symmetric=True,
        granularity=qtyping.QuantGranularity.TENSORWISE if per_tensor else qtyping.QuantGranularity.CHANNELWISE,
    )
    if mode.weight_only:
        return qtyping.OpQuantizationConfig(
            weight_tensor_config=weights,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
    wide = precision == "int16" or (mode.activation_bits == 16 and precision == "int4")
    activations = qtyping.TensorQuantizationConfig(
        num_bits=16 if wide else 8, symmetric=wide, granularity=qtyping.QuantGranularity.TENSORWISE
    )
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=activations if mode.static else None,
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.INTEGER,
        explicit_dequantize=False,
    )


def _configure(
    engine: Any,
    source: FloatModel,
    mode: Mode,
    precisions: dict[int, str],
    io: str | None,
    algorithms: Mapping[int, str],
    one: Collection[int],
    by_channel: Collection[str],
) -> set[int]:
    """Configures the engine for each op; returns the numbers of ops with per-tensor kernels."""
    shared: set[int] = set()
    if mode.weights.startswith("float"):
        bits = int(mode.weights.removeprefix("float"))
        cast = qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=bits, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        engine.update_quantization_recipe(".*", "*", cast, AlgorithmName.FLOAT_CASTING)
        return shared
    if mode is not _NAMED_OPS_ALONE:
        engine.update_quantization_recipe(".*", "*", _config(mode, mode.precision))
    held = source.identities if mode.static else Identities()
    if mode is _NAMED_OPS_ALONE or io == "float32":
        for end in ("INPUT", "OUTPUT"):
            engine.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    elif not held.tensors.isdisjoint(source.inputs):  # the quantizer knows one form for all inputs
        engine.update_quantization_recipe(".*", "INPUT", algorithm_key=AlgorithmName.NO_QUANTIZE)
    if mode.weights == "int4":
        own = {i: "int4" for i, op in enumerate(source.ops) if supports(op, mode.name, "int4")}
        precisions = {**own, **precisions}
    precisions = {**precisions, **dict.fromkeys(held.ops, "float"), **stay_in_float(source.ops)}
    for index, op in enumerate(source.ops):
        if op.facts.recurrent:  # the quantizer does not know it, and lets it be
            continue
        scope = _scope(t.name for t in op.outputs)
        per_tensor = index in one and not any(tensor.name in by_channel for tensor in op.kernels)
        per_tensor = per_tensor and supports(op, mode.name, precisions.get(index, mode.precision), True)
        precision = precisions.get(index) or (mode.precision if per_tensor else None)
        if per_tensor:
            shared.add(index)
        if precision == "float" or (op.graph and mode.static):
            engine.update_quantization_recipe(scope, "*", algorithm_key=AlgorithmName.NO_QUANTIZE)
        elif precision:
            algorithm = ALGORITHMS[algorithms.get(index, "minmax")]
            engine.update_quantization_recipe(
                scope, _OPERATIONS[op.name], _config(mode, precision, per_tensor), algorithm
            )
    for ends in source.loops if mode.static else ():  # tensors inside a loop have no calibrated ranges
        engine.update_quantization_recipe(_scope(ends), "*", algorithm_key=AlgorithmName.NO_QUANTIZE)
    return shared


def _scope(names: Iterable[str]) -> str:
    return f"^{re.escape(';'.join(names))};?$"

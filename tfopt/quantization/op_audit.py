"""The audit of a finished file against the float one: bytes, zeros and arithmetic of each op."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ai_edge_litert import schema_py_generated as schema

from tfopt.quantization.float_conversion import FloatModel
from tfopt.recipe.artifact import Skipped
from tfopt.recipe.details.quantization import Audit, AuditRow
from tfopt.recipe.modes import Mode
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import FileSummary, Op, Tensor, read


def audit(source: FloatModel, content: bytes) -> Audit:
    """Compares a finished file, with tensor names, with the float file that it was made from."""
    made, before = read(content), read(source.content)
    now_unpacked, then_unpacked = unpacked(made.ops), unpacked(source.ops)
    after = {op.outputs[0].name: kernels(op, now_unpacked) for op in made.ops if op.outputs}
    rows, seen, counted = [], set[str](), set[str]()
    for op, places in zip(source.ops, source.owners, strict=True):
        weights = kernels(op, then_unpacked)
        if op.facts.border or not any(len(t.shape) > 1 for t in weights) or op.outputs[0].name not in after:
            continue
        now = after[op.outputs[0].name]
        fresh = [t for t in weights if t.name not in seen]
        written = [t for t in now if t.name not in counted]
        seen.update(t.name for t in weights)
        counted.update(t.name for t in now)
        rows.append(
            AuditRow(
                layer=", ".join(place.path for place in places) or op.outputs[0].name,
                op=op.name,
                dtype="+".join(dict.fromkeys(t.dtype.lower() for t in now if len(t.shape) > 1)),
                bytes=sum(t.bytes for t in written),
                float_bytes=sum(4 * t.size for t in fresh),
                zeros=_share(now),
                float_zeros=_share(weights),
                values=_values(now),
            )
        )
    return Audit(
        rows=tuple(rows),
        floating=tuple(_names(op for op in made.ops if op.floating)),
        loops=tuple(_names(op for op in made.ops if op.facts.loop)),
        flex=tuple(_names(op for op in made.ops if op.facts.flex)),
        sparsity=made.sparsity,
        float_sparsity=before.sparsity,
    )


def left_in_float(summary: FileSummary, mode: Mode, reasons: Mapping[str, str]) -> tuple[Skipped, ...]:
    """The ops of a file that the mode would quantize and that are in floating point; a loop counts as one.

    Args:
        summary: Summary of the file, with tensor names.
        mode: The mode of the file.
        reasons: Reason by name of the op's output, where it is not that the mode has no form of the op.
    """
    if mode.static:
        left = [op for op in summary.ops if op.floating and not op.graph]
        then = "it computes in float"
    else:
        # The constants of other ops are factors, offsets or initial states, not kernels.
        able = [op for op in summary.ops if not op.facts.elementwise and not op.facts.control]
        left = [op for op in able if any(t.dtype == "FLOAT32" for t in op.kernels)]
        then = "its weights stay in float32"
    found = []
    for op in left:
        reason = reasons.get(op.outputs[0].name) if op.outputs else None
        why = f"{reason}: {then}" if reason else f"it has no form in mode {mode.name}, so {then}"
        found += [Skipped(name, why) for name in _names([op])]
    return tuple(found)


def is_quantized(summary: FileSummary) -> bool:
    """Whether some kernel of a file is stored in anything but float32, or some op computes on integers."""
    kernels = (t.parameter and len(t.shape) > 1 and t.dtype != "FLOAT32" for t in summary.tensors)
    return any(kernels) or any(op.integers for op in summary.ops)


def float_at_ends(content: bytes) -> bool:
    """Whether some op in floating point reads an input of a file, or makes an output, that is in integers."""
    parsed = flatbuffer.view(content)
    graph = parsed.subgraphs[0]
    inputs, outputs = {int(i) for i in graph.inputs}, {int(i) for i in graph.outputs}
    for op in graph.operators:
        kind = flatbuffer.builtin_operator(parsed.operatorCodes[op.opcodeIndex])
        into = kind == schema.BuiltinOperator.DEQUANTIZE and int(op.inputs[0]) in inputs
        out_of = kind == schema.BuiltinOperator.QUANTIZE and int(op.outputs[0]) in outputs
        floats = out_of and graph.tensors[int(op.inputs[0])].type == schema.TensorType.FLOAT32
        if into or floats:
            return True
    return False


def unpacked(ops: Iterable[Op]) -> dict[str, Tensor]:
    """The stored constants that ops unpack for other ops, by the name of the unpacked tensor."""
    return {op.outputs[0].name: op.inputs[0] for op in ops if op.facts.unpacks and op.inputs[0].bytes}


def kernels(op: Op, stored: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The weights that an op reads, those included that are unpacked for it first (see `unpacked`)."""
    found = (t if t.bytes else stored.get(t.name) for t in op.inputs)
    return tuple(t for t in found if t is not None and t.parameter)


def _share(tensors: Iterable[Tensor]) -> float:
    own = [t for t in tensors if len(t.shape) > 1]
    size = sum(t.size for t in own)
    return sum(t.zeros for t in own) / size if size else 0.0


def _values(tensors: Iterable[Tensor]) -> int | None:
    counts = [t.distinct for t in tensors if len(t.shape) > 1]
    return None if None in counts else max((count for count in counts if count is not None), default=None)


def _names(ops: Iterable[Op]) -> list[str]:
    return [f"{op.name} {op.outputs[0].name if op.outputs else ''}".strip() for op in ops if not op.facts.border]

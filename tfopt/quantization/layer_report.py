"""A finished file layer by layer against its float file: weights, and the error that quantization puts on them.

The error of outputs is that of the layer and of all before it: the two files are run on a few samples with all
activations kept. To quantize each layer alone, as `noise_sources` does, would take a file and a run for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfopt.metrics.outputs import snr_db
from tfopt.models.weight_statistics import MOST_LAYERS, LayerSnapshot, choose, compare, most_values
from tfopt.quantization.conversion import Conversion
from tfopt.quantization.float_conversion import FloatModel
from tfopt.quantization.op_audit import kernels, unpacked
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.sensitivity import groups
from tfopt.recipe.details.detail import Detail
from tfopt.recipe.details.weights import LayerError, QuantizationErrors, WeightsByLayer
from tfopt.recipe.modes import MODES
from tfopt.tflite.activations import activations
from tfopt.tflite.file import FileSummary, Op, Tensor
from tfopt.tflite.weights import StoredWeights

# Samples that layers are compared on; fewer where a sample has very many activations, as their error averages over all.
SAMPLES, ACTIVATIONS = 8, 2**22


def layer_report(conversion: Conversion) -> list[Detail]:
    """The weights of a conversion by layer and, of a mode that quantizes, the error of each layer.

    Empty for a conversion that does not know what it was made from.
    """
    prepared, made = conversion.prepared, conversion.made
    if prepared is None or made is None:
        return []
    stored = StoredWeights(made.content)
    weights = weights_by_layer(prepared.source, made, stored, len(conversion.content))
    errors = quantization_errors(prepared, made, stored) if MODES[prepared.export.mode].quantizes else None
    return [weights, errors] if errors else [weights]


def weights_by_layer(source: FloatModel, made: FileSummary, stored: StoredWeights, file_bytes: int) -> WeightsByLayer:
    """The weights of each layer in a file and in the float file that it was made from.

    Args:
        source: The float file.
        made: Summary of the file, with tensor names.
        stored: The constants of that file.
        file_bytes: Bytes of the file as it is given away.
    """
    before: list[LayerSnapshot] = []
    after: list[LayerSnapshot] = []
    then, now = unpacked(source.ops), unpacked(made.ops)
    made_ops = {op.outputs[0].name: op for op in made.ops if op.outputs}
    seen: tuple[set[str], set[str]] = (set(), set())
    content = StoredWeights(source.content)
    for group in groups(source, loops=True):
        ops = [source.ops[i] for i in group.ops]
        pairs = [(op, made_ops.get(op.outputs[0].name)) for op in ops if op.outputs]
        old = _fresh((t for op, _ in pairs for t in kernels(op, then)), seen[0])
        new = _fresh((t for _, op in pairs if op for t in kernels(op, now)), seen[1])
        if not new:
            continue
        after.append(_snapshot(group.name, group.kind, new, stored))
        if old:
            before.append(_snapshot(group.name, group.kind, old, content))
    others = sum(t.bytes for t in made.tensors) - sum(one.bytes for one in after)
    rest = {"file_bytes": file_bytes, "constant_bytes": max(others, 0), "ops": len(made.ops)}
    return WeightsByLayer.from_json({**compare(after, before), **rest})


def _fresh(tensors: Iterator[Tensor], seen: set[str]) -> list[Tensor]:
    """The tensors that no layer before had."""
    found = {t.name: t for t in tensors if t.name not in seen}
    seen.update(found)
    return list(found.values())


def _snapshot(layer: str, kind: str, tensors: Sequence[Tensor], values: StoredWeights) -> LayerSnapshot:
    own = [t for t in tensors if len(t.shape) > 1]
    arrays = [array for t in own if (array := values(t.name)) is not None]
    return LayerSnapshot(
        layer=layer,
        kind=kind,
        precision="+".join(dict.fromkeys(t.dtype.lower() for t in own or tensors)),
        parameters=sum(t.size for t in tensors),
        bytes=sum(t.bytes for t in tensors),
        kernels=sum(t.size for t in own),
        zeros=sum(t.zeros for t in own),
        values=most_values([t.distinct for t in own]),
        chosen=choose(arrays),
        scale_bytes=sum(values.grid_bytes(t.name) for t in tensors),
    )


def quantization_errors(prepared: PreparedModel, made: FileSummary, stored: StoredWeights) -> QuantizationErrors | None:
    """The quantization error of each layer of a file; None where LiteRT does not run it with its activations kept.

    Args:
        prepared: The model that the file was made from.
        made: Summary of the file, with tensor names.
        stored: The constants of that file.
    """
    source = prepared.source
    members = groups(source)
    ends = {group.name: source.ops[group.ops[-1]].outputs[0] for group in members if source.ops[group.ops[-1]].outputs}
    names = {tensor.name for tensor in ends.values()}
    count = min(max(ACTIVATIONS // max(sum(math.prod(tensor.shape) for tensor in ends.values()), 1), 1), SAMPLES)
    samples = {name: array[:count] for name, array in prepared.few.items()}
    expected = activations(source.content, samples, names)
    found = activations(made.content, samples, names)
    if expected is None or found is None:
        return None
    there, now = {op.outputs[0].name: op for op in made.ops if op.outputs}, unpacked(made.ops)
    rows = []
    for group in members:
        end = ends.get(group.name)
        if end is None or end.name not in there:
            continue
        output = _snr_db(expected.get(end.name), found.get(end.name))
        weights = _weights_snr_db([source.ops[i] for i in group.ops], there, now, source.constants, stored)
        if output is not None or weights is not None:
            dtype = there[end.name].outputs[0].dtype.lower()
            rows.append(LayerError(group.name, group.kind, dtype, output, weights))
    kept = sorted(sorted(range(len(rows)), key=lambda i: _worst(rows[i]))[:MOST_LAYERS])
    count = len(next(iter(samples.values())))
    return QuantizationErrors(tuple(rows[i] for i in kept), count, len(rows) - len(kept))


def _worst(row: LayerError) -> float:
    return min(db for db in (row.output_snr_db, row.weights_snr_db) if db is not None)


def _weights_snr_db(
    ops: Sequence[Op],
    there: Mapping[str, Op],
    now: Mapping[str, Tensor],
    constants: Mapping[str, np.ndarray],
    stored: StoredWeights,
) -> float | None:
    """The SNR of the kernels of a layer that are not in float32; None where there is none."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for op in ops:
        made = there.get(op.outputs[0].name)
        written = [t for t in kernels(made, now) if len(t.shape) > 1] if made else []
        if len(written) != len(op.kernels):
            continue
        for old, new in zip(op.kernels, written, strict=True):
            value = stored(new.name) if new.dtype != "FLOAT32" and old.name in constants else None
            if value is not None and value.shape == constants[old.name].shape:
                pairs.append((constants[old.name], value))
    if not pairs:
        return None
    return _snr_db(*(np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1)))


def _snr_db(expected: np.ndarray | None, found: np.ndarray | None) -> float | None:
    """The power of an array over that of its difference from another, in decibels; None where there is no such."""
    if expected is None or found is None or expected.shape != found.shape or not expected.size:
        return None
    wanted = expected.ravel().astype(np.float32, copy=False)
    ratio = snr_db(wanted, found.ravel())
    return ratio if wanted.any() and math.isfinite(ratio) else None

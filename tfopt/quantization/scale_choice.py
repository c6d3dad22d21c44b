"""Scales of kernels where the settings leave them open: one for each channel, or one for all.

A scale for each channel is more exact. With one, the weights of most channels are smaller integers of fewer distinct
values, which a target that codes its kernels stores in fewer bytes (`auto`); and it is itself fewer bytes, which counts
where a channel has few weights (`fewest`). Clustered kernels have one scale in any case (`quantizer.quantize`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tfopt.quantization import quantizer
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.quantization.rounding.noise import Noise
from tfopt.quantization.rounding.plan import RoundingSettings
from tfopt.recipe.modes import MODES
from tfopt.recipe.target import TARGETS
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import Op

# Zeros in a kernel, 0-1, from which on it is worth to look.
SPARSE = 0.3
# Signal-to-noise ratio that a file of one scale a kernel has to have, and may lose, in decibels.
LEAST_SNR_DB, LOST_SNR_DB = 20.0, 3.0
# What the fewest scales may lose of it, and on how many samples that is measured.
LOST_BY_FEWEST_DB, COMPARED = 1.0, 100


def with_chosen_scales(prepared: PreparedModel, accepts: Callable[[bytes], bool] | None = None) -> PreparedModel:
    """The prepared model with the scales that its settings ask to choose, and a note on them.

    Args:
        prepared: The prepared model.
        accepts: Whether a file keeps its metric; by its signal-to-noise ratio alone if not given.
    """
    choose = _with_fewest if prepared.export.scales == "fewest" else _with_cheapest
    return choose(prepared, accepts)


def _with_cheapest(prepared: PreparedModel, accepts: Callable[[bytes], bool] | None) -> PreparedModel:
    """The prepared model with one scale a kernel where that makes the file smaller on its target and is near as exact.

    Both files are made and measured. A note says which was taken, and both figures.

    Args:
        prepared: The prepared model; with other scales than `auto`, and for a target that stores kernels as they are,
            it stays as it is.
        accepts: Whether a file keeps its metric; by its signal-to-noise ratio if not given.
    """
    export, target = prepared.export, TARGETS[prepared.export.target]
    if export.scales != "auto" or target.cost is None or target.coding(export) is None:
        return prepared
    if not MODES[export.mode].static or prepared.converted is not None or not _sparse(prepared):
        return prepared
    other = prepared.with_scales("tensor")
    by_channel, by_kernel = (_size(each) for each in (prepared, other))
    size = target.size.replace("_", " ")
    if by_kernel >= by_channel:
        return prepared.with_notes(
            [
                *prepared.notes,
                f"scales: one for each channel ({size} {by_channel:,.0f}; one a kernel: {by_kernel:,.0f})",
            ]
        )
    figures = f"{size} {by_kernel:,.0f}; one for each channel: {by_channel:,.0f}"
    if accepts is not None:
        kept, why = accepts(other.file), "did not keep the metric"
    else:
        before, after = prepared.snr(prepared.file), other.snr(other.file)
        kept, why = after >= max(LEAST_SNR_DB, before - LOST_SNR_DB), f"SNR {after:.1f} dB instead of {before:.1f}"
    if not kept:
        return prepared.with_notes(
            [*prepared.notes, f"scales: one for each channel; one a kernel was too noisy, {why} ({figures})"]
        )
    return other.with_notes([*other.notes, f"scales: one a kernel ({figures})"])


def _with_fewest(prepared: PreparedModel, accepts: Callable[[bytes], bool] | None) -> PreparedModel:
    """The prepared model with one scale for as many kernels as leave the file as exact within a decibel.

    Each kernel is tried alone. In the order of the noise that it adds over the bytes that it saves, each is then taken
    if the file bears it beside those that were taken before. Integers are rounded each by itself for that, whatever is
    done about them later.

    References:
        Zhou et al., Adaptive quantization for deep neural networks, arXiv:1712.01048 (the noise of
        layers adds up, so that they are ranked by what each adds alone).
    """
    samples = {name: array[:COMPARED] for name, array in prepared.masks.clipped(prepared.samples).items()}
    noise = Noise(prepared.source.content, samples, prepared.export.stateful)

    def tried(kernels: Iterable[tuple[int, ...]]) -> _Tried:
        model = prepared.with_one_scale(index for ops in kernels for index in ops)
        content = model.quantized(rounding=RoundingSettings())
        return _Tried(model, content, len(flatbuffer.slim(content)), noise.snr(content))

    before = best = tried(())
    alone = {ops: tried([ops]) for ops in _open_kernels(prepared)}
    saved = {ops: before.bytes - one.bytes for ops, one in alone.items() if one.bytes < before.bytes}
    taken: list[tuple[int, ...]] = []
    for ops in sorted(saved, key=lambda ops: (alone[ops].noise - before.noise) / saved[ops]):
        found = tried([*taken, ops])
        if found.snr_db >= before.snr_db - LOST_BY_FEWEST_DB:
            taken, best = [*taken, ops], found
    ratios = f"SNR {best.snr_db:.1f} dB instead of {before.snr_db:.1f}"
    said = f"one for all channels in {len(taken)} of {len(alone)} kernels, {before.bytes - best.bytes:,} B fewer"
    if taken and accepts is not None and not accepts(best.content):
        best, said, ratios = replace(best, model=prepared), f"one for each channel; {said}", "did not keep the metric"
    return best.model.with_notes([*prepared.notes, f"scales: {said}, {ratios}"])


@dataclass(frozen=True)
class _Tried:
    """A choice of kernels with one scale.

    Args:
        model: The model with it.
        content: Its file, with tensor names.
        bytes: Bytes of the file without them.
        snr_db: The signal-to-noise ratio of the file in decibels.
    """

    model: PreparedModel
    content: bytes
    bytes: int
    snr_db: float

    @property
    def noise(self) -> float:
        """The power of the noise over that of the outputs."""
        return float(10 ** (-self.snr_db / 10))


def _open_kernels(prepared: PreparedModel) -> Iterator[tuple[int, ...]]:
    """The kernels that have a scale for each channel and may have one: of each the numbers of the ops that have it."""
    ops, mode = prepared.source.ops, MODES[prepared.export.mode]
    users: dict[str, list[int]] = {}
    for index, op in enumerate(ops):
        for tensor in op.kernels:
            users.setdefault(tensor.name, []).append(index)
    for indices in users.values():
        precisions = (prepared.assigned.precisions.get(index, mode.precision) for index in indices)
        if all(_may_have_one(ops[i], mode.name, to) for i, to in zip(indices, precisions, strict=True)):
            yield tuple(indices)


def _may_have_one(op: Op, mode: str, precision: str) -> bool:
    """Whether the kernel of an op may have one scale; that of a clustered one is settled, and a table's is one."""
    weighted = op.facts.data_kernel_bias is not None and len(op.kernels) == 1 and not op.graph
    settled = op.facts.looks_up or op.facts.recurrent or quantizer.shares_values(op)
    return weighted and not settled and precision != "float" and quantizer.supports(op, mode, precision, True)


def _sparse(prepared: PreparedModel) -> bool:
    """Whether a kernel that would have a scale for each channel is pruned."""
    kernels = (tensor for op in prepared.source.ops for tensor in op.kernels)
    return any(tensor.zeros >= SPARSE * tensor.size and not tensor.codebook for tensor in kernels if tensor.size)


def _size(prepared: PreparedModel) -> float:
    """The size of the file on its target, by the target's own tool."""
    export, target = prepared.export, TARGETS[prepared.export.target]
    content = flatbuffer.slim(prepared.file) if export.slim else flatbuffer.pack(flatbuffer.parse(prepared.file))
    return target.stored_size(content, export)

"""Scales of kernels where the settings leave them open: one for each channel, or one for all.

A scale for each channel is more exact. With one, the weights of most channels are smaller integers of fewer distinct
values, which a target that codes its kernels stores in fewer bytes: that is what `auto` looks at for pruned kernels.
Clustered ones have one scale in any case (`quantizer.quantize`). What `fewest` does is in `fewest_scales`.
"""

from __future__ import annotations

from collections.abc import Callable

from tfopt.quantization.fewest_scales import with_fewest_scales
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.recipe.modes import MODES
from tfopt.recipe.target import TARGETS
from tfopt.tflite import flatbuffer

# Zeros in a kernel, 0-1, from which on it is worth to look.
SPARSE = 0.3
# Signal-to-noise ratio that a file of one scale a kernel has to have, and may lose, in decibels.
LEAST_SNR_DB, LOST_SNR_DB = 20.0, 3.0


def with_chosen_scales(prepared: PreparedModel, accepts: Callable[[bytes], bool] | None = None) -> PreparedModel:
    """The prepared model with the scales that its settings ask to choose, and a note on them.

    Args:
        prepared: The prepared model.
        accepts: Whether a file keeps its metric; by its signal-to-noise ratio alone if not given.
    """
    choose = with_fewest_scales if prepared.export.scales == "fewest" else _with_cheapest
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
    prepared.ranges()  # observed once for both
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


def _sparse(prepared: PreparedModel) -> bool:
    """Whether a kernel that would have a scale for each channel is pruned."""
    kernels = (tensor for op in prepared.source.ops for tensor in op.kernels)
    return any(tensor.zeros >= SPARSE * tensor.size and not tensor.codebook for tensor in kernels if tensor.size)


def _size(prepared: PreparedModel) -> float:
    """The size of the file on its target, by the target's own tool."""
    export, target = prepared.export, TARGETS[prepared.export.target]
    content = flatbuffer.slim(prepared.file) if export.slim else flatbuffer.pack(flatbuffer.parse(prepared.file))
    return target.stored_size(content, export)

"""Loops in float or unrolled layers, on a target whose memory is its scarcest good: what both take there decides."""

from __future__ import annotations

from tfopt.errors import ConversionError
from tfopt.quantization.prepared_model import PreparedModel
from tfopt.recipe.target import TARGETS
from tfopt.tflite.flatbuffer import slim

_ARENA = "arena_bytes"


def spared_by_loops(loops: PreparedModel, unrolled: PreparedModel, least_snr_db: float) -> str:
    """What loops in float spare of the target's memory, as a note; empty where they do not, or nothing measures it.

    Unrolled, every time step has tensors of its own; a loop has those of one step, and its cell is not quantized.

    Args:
        loops: The model with its recurrent layers as loops.
        unrolled: The model with its recurrent layers unrolled.
        least_snr_db: Signal-to-noise ratio, in decibels, below which loops are no choice.
    """
    export = loops.export
    target = TARGETS[export.target]
    if export.recurrence != "auto" or _ARENA not in target.figures or target.cost is None or not target.installed:
        return ""
    try:
        snr = loops.snr(loops.file)
        here, there = (target.costs(form.file, export).figures[_ARENA] for form in (loops, unrolled))
    except ConversionError:
        return ""
    if snr < least_snr_db or here >= there:
        return ""
    looped, flat = (len(slim(form.file) if export.slim else form.file) for form in (loops, unrolled))
    return (
        f"loops stay in float: so the arena takes {here:,.0f} B and the file {looped:,} B, SNR {snr:.1f} dB; "
        f"unrolled (recurrent: unrolled) they take {there:,.0f} B and {flat:,} B"
    )

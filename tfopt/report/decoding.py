"""What decoding kernels on microcontrollers saves and costs, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator

from tfopt.recipe.decode import CODINGS
from tfopt.recipe.details.decoding import DecodedKernel, DecodedKernels
from tfopt.report.units import bytes_, duration
from tfopt.tflite.ops import DECODE, facts_of

DECODED = ("layer", "op", "bytes", "stored", "coding")


def decoded_cells(row: DecodedKernel) -> tuple[str, ...]:
    """A row of the table of kernels as text."""
    stored = f"{row.stored_bytes:,}" if row.coding else "-"
    return (row.layer, row.op, f"{row.bytes:,}", stored, row.about if row.coding else f"as it is: {row.about}")


def decoding_words(found: DecodedKernels) -> str:
    """What is saved and what it costs in one line; empty where nothing is decoded."""
    if not found.smaller:
        return ""
    before, after = found.plain, found.decoded
    flash, arena = (f"{before[name]:,.0f} → {bytes_(after[name])}" for name in ("flash_bytes", "arena_bytes"))
    slower = after["microseconds"] / before["microseconds"] if before["microseconds"] else 0.0
    time = f", a run takes {slower:.1f} times as long here" if slower else ""
    return f"kernels decoded: flash {flash}, tensor arena {arena}{time}"


def decoding_sentences(found: DecodedKernels) -> list[str]:
    """What is saved, what it costs, and what the firmware has to have: sentences without a full stop."""
    if not found.smaller:
        return ["No coding makes the file smaller, so no kernel is decoded"]
    flash, arena, microseconds = (
        (found.plain[name], found.decoded[name]) for name in ("flash_bytes", "arena_bytes", "microseconds")
    )
    took, takes = (duration(each * 1e-6) for each in microseconds)
    added = duration(max(microseconds[1] - microseconds[0], 0.0) * 1e-6)
    return [
        f"Flash: {flash[0]:,.0f} → {bytes_(flash[1])}, {1 - flash[1] / flash[0]:.0%} saved",
        f"Tensor arena: {arena[0]:,.0f} → {bytes_(arena[1])}, {bytes_(arena[1] - arena[0])} added",
        f"Time of a run: {took} → {takes}, {added} added; medians on this machine, with TFLM's portable kernels",
        f"Outputs are equal in every bit with tflite-micro {found.version}",
        *(f"Needs {need}" for need in needs(found)),
    ]


def needs(found: DecodedKernels) -> Iterator[str]:
    """What the firmware has to have for a file with decoded kernels."""
    yield f"TFLM's op {DECODE}: {facts_of(DECODE).micro}() of the MicroMutableOpResolver registers it"
    for name in dict.fromkeys(row.coding for row in found.kernels if row.coding):
        if name in CODINGS:
            yield f"the coding {name}: {CODINGS[name].since}"
    yield "the file at a multiple of 16 bytes in flash: alignas(16)"

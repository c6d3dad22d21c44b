"""Audits and sensitivity rankings of quantization as tables, JSON and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tfopt.recipe.details.device_files import DeviceFiles
from tfopt.recipe.details.quantization import AuditRow
from tfopt.report.blocks import Block, Bullets, Figure, Table
from tfopt.report.charts import Bar, Bars
from tfopt.report.on_device import known
from tfopt.report.page import Page, Part
from tfopt.report.units import bytes_, times

if TYPE_CHECKING:
    from tfopt.quantization.conversion import Conversion
    from tfopt.quantization.sensitivity import Sensitivity
    from tfopt.targets.target_cost import TargetCost

AUDIT = ("layer", "op", "kernel", "bytes", "in float32", "zeros", "before", "values")
SENSITIVITY = ("layer", "op", "to", "output error", "bytes saved", "error per byte")
PRECISIONS = ("int8", "int4")
# Layers that are drawn.
DRAWN = 40
# Decibels below which the outputs of a file have little to do with those of the float one, and the error that is.
SPOILED_DB = 10.0
SPOILING = 10 ** (-SPOILED_DB / 10)


def audit_cells(row: AuditRow) -> tuple[str, ...]:
    """A row of an audit as text."""
    shares = (f"{row.zeros:.1%}", f"{row.float_zeros:.1%}")
    values = "-" if row.values is None else str(row.values)
    return (row.layer, row.op, row.dtype, f"{row.bytes:,}", f"{row.float_bytes:,}", *shares, values)


def totals(converted: Conversion) -> str:
    """One line about a conversion: its size, ops in float, loops, and zeros in kernels."""
    looked = converted.audit
    after, before = len(converted.content), converted.float_bytes
    smaller = before > after
    words = [f"{before:,} -> {bytes_(after)} ({times(before / after)})" if smaller else bytes_(after)]
    words += [f"{len(looked.floating)} ops in float"] if looked.floating else ["no op in float"]
    words += [f"{len(looked.loops)} loops"] if looked.loops else []
    words += [f"zeros in kernels {looked.sparsity:.1%}, before {looked.float_sparsity:.1%}"]
    return ", ".join(words)


def figure_lines(figures: Mapping[str, float]) -> list[str]:
    """What was measured of a converted file, each a line with its unit."""
    words = {
        "calibration_snr_db": ("SNR of the outputs on calibration samples, against the float32 file", "{:.1f} dB"),
        "calibration_max_error": ("largest error of an output on calibration samples", "{:.4g}"),
        "arena_bytes": ("tensor arena", "{:,.0f} B"),
    }
    figures = {name: value for name, value in figures.items() if name not in known() or name in words}
    found = ((*words.get(name, (name.replace("_", " "), "{:,.6g}")), value) for name, value in figures.items())
    return [f"{name}: {form.format(value)}" for name, form, value in found]


def conversion_record(converted: Conversion) -> dict[str, Any]:
    """A conversion as JSON."""
    decoding = converted.on_target.decoding if converted.on_target else None
    return {
        "bytes": len(converted.content),
        "float32_bytes": converted.float_bytes,
        "figures": converted.figures,
        "skipped": [asdict(one) for one in converted.skipped],
        "notes": converted.notes,
        "warnings": converted.warnings,
        "audit": converted.audit.to_json(),
        **({"on_target": on_target(converted.on_target)} if converted.on_target else {}),
        **({decoding.name: decoding.to_json()} if decoding else {}),
    }


def on_target(found: TargetCost) -> Any:
    """The cost of a file on its target as JSON."""
    [record] = DeviceFiles((found.record(),)).to_json()["files"]
    return record


def sensitivity_cells(line: Sensitivity) -> tuple[str, ...]:
    """A line of a sensitivity ranking as text."""
    per_byte = f"{line.error_per_byte:.2e}" if line.bytes_saved else "-"
    name, kind = line.group.name, line.group.kind
    return (name, kind, line.precision, f"{line.error:.2e}", f"{line.bytes_saved:,}", per_byte)


def sensitivity_remarks(found: Sequence[Sensitivity]) -> list[str]:
    """The layers that spoil the model where they alone are quantized, in a line for each precision to keep them in."""
    lines: list[str] = []
    told: set[str] = set()
    for precision, higher in (("int8", "float"), ("int4", "int8")):
        own = (line for line in found if line.precision == precision and line.group.name not in told)
        names = [line.group.name for line in own if line.error > SPOILING]
        told |= set(names)
        if names:
            lines.append(
                f"{precision} of one of these alone leaves an SNR below {SPOILED_DB:g} dB; keep them in {higher}: "
                f"{', '.join(names)}"
            )
    return lines


def sensitivity_record(found: Sequence[Sensitivity]) -> list[dict[str, Any]]:
    """A sensitivity ranking as JSON: errors are noise-to-signal ratios, null per byte where nothing is saved."""
    return [
        {
            "layer": line.group.name,
            "ops": line.group.kind,
            "precision": line.precision,
            "error": line.error,
            "bytes_saved": line.bytes_saved,
            "error_per_byte": line.error_per_byte if line.bytes_saved else None,
            "algorithm": line.algorithm,
        }
        for line in found
    ]


def sensitivity_page(found: Sequence[Sensitivity], title: str, notes: Sequence[str] = ()) -> Page:
    """A page of a ranking: for each layer the error per byte at each precision, the most robust on top."""
    kept = [line for line in found if line.bytes_saved]
    names = list(dict.fromkeys(line.group.name for line in kept))
    spoiling = {line.group.name for line in kept if line.error > SPOILING}
    bars = []
    for name in names[-DRAWN:]:
        own = {line.precision: line.error_per_byte for line in kept if line.group.name == name}
        text = ", ".join(f"{precision} {error:.2e}" for precision, error in own.items())
        bars.append(Bar(name, [own.get(precision) for precision in PRECISIONS], text, name in spoiling))
    caption = "Noise-to-signal ratio of the model's outputs for each byte saved: shorter is better."
    caption += f" The {DRAWN} that lose most are drawn; the table has all." if len(names) > DRAWN else ""
    label = f"Error per byte of {len(bars)} layers, each quantized alone, in int8 and in int4"
    drawn = [Figure(Bars(label, bars, PRECISIONS, log=True), caption)] if bars else []
    table = Table(SENSITIVITY, [sensitivity_cells(line) for line in found], left=3, most=len(found))
    said = [*sensitivity_remarks(found), *notes]
    intro: list[Block] = [Bullets(said)] if said else []
    lead = "What quantizing one layer alone costs, the most robust first."
    return Page(title, lead, [*intro, *drawn], [Part("layers", "Every layer", [table])], "tfopt sensitivity")

"""Audits and sensitivity rankings of quantization as tables, JSON and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tfopt.recipe.details.quantization import AuditRow
from tfopt.report.units import times

if TYPE_CHECKING:
    from tfopt.quantization.conversion import Conversion
    from tfopt.quantization.sensitivity import Sensitivity

AUDIT = ("layer", "op", "kernel", "bytes", "in float32", "zeros", "before", "values")
SENSITIVITY = ("layer", "op", "to", "output error", "bytes saved", "error per byte")
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
    words = [f"{before:,} -> {after:,} B ({times(before / after)})" if smaller else f"{after:,} B"]
    words += [f"{len(looked.floating)} ops in float"] if looked.floating else ["no op in float"]
    words += [f"{len(looked.loops)} loops"] if looked.loops else []
    words += [f"zeros in kernels {looked.sparsity:.1%}, before {looked.float_sparsity:.1%}"]
    return ", ".join(words)


def conversion_record(converted: Conversion) -> dict[str, Any]:
    """A conversion as JSON."""
    return {
        "bytes": len(converted.content),
        "float32_bytes": converted.float_bytes,
        "figures": converted.figures,
        "skipped": [asdict(one) for one in converted.skipped],
        "notes": converted.notes,
        "warnings": converted.warnings,
        "audit": converted.audit.to_json(),
    }


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
    """A sensitivity ranking as JSON: errors are relative powers, `error_per_byte` is null where nothing is saved."""
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


def sensitivity_plot(found: Sequence[Sensitivity], title: str) -> str:
    """A page with a plot of a ranking: for each layer the error per byte at each precision, the most robust on top."""
    import plotly.graph_objects as go

    kept = [line for line in found if line.bytes_saved]
    names = list(dict.fromkeys(line.group.name for line in kept))
    figure = go.Figure()
    for name in names:  # a line between the precisions of a layer
        ends = [line.error_per_byte for line in kept if line.group.name == name]
        figure.add_scatter(
            x=[min(ends), max(ends)],
            y=[name, name],
            mode="lines",
            line={"color": "#c5ccd3", "width": 3},
            showlegend=False,
        )
    for precision, color in (("int8", "#2a78b5"), ("int4", "#e0762f")):
        own = [line for line in kept if line.precision == precision]
        figure.add_scatter(
            name=precision,
            mode="markers",
            marker={"color": color, "size": 13},
            y=[line.group.name for line in own],
            x=[line.error_per_byte for line in own],
            customdata=[(line.group.kind, line.error, line.bytes_saved) for line in own],
            hovertemplate="%{y} (%{customdata[0]})<br>error %{customdata[1]:.3g}, saves %{customdata[2]:,} B"
            "<br>%{x:.3g} per byte<extra></extra>",
        )
    figure.update_layout(
        title=f"{title}: what quantizing one layer alone costs",
        template="plotly_white",
        height=max(320, 34 * len(names) + 180),
        legend={"title": "quantized to", "orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"l": 20, "r": 30, "t": 110},
    )
    label = "power of the output error over that of the output, per byte saved; less is better"
    figure.update_xaxes(type="log", title=label, exponentformat="e", dtick=1)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True)
    return str(figure.to_html(include_plotlyjs=True, full_html=True))

"""Section on the audit of a file: bytes and zeros of each op with a kernel."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import Audit
from tfopt.recipe.details.weights import WeightsByLayer
from tfopt.report.blocks import Block, Figure, Grid, Heading, Paragraph, Table
from tfopt.report.charts import Bar, Bars
from tfopt.report.quantization import AUDIT, audit_cells
from tfopt.report.section import Section
from tfopt.report.units import bytes_, change

# The largest ops, which the chart shows.
DRAWN = 16


def blocks(artifact: Artifact) -> list[Block]:
    """A row for each op with a kernel; and loops and TensorFlow ops, if there are any."""
    audit = artifact.details.of(Audit)
    if not audit:
        return []
    others = [
        Paragraph(f"{what}: {', '.join(names)}.")
        for names, what in ((audit.loops, "Loops"), (audit.flex, "Ops that LiteRT does not have"))
        if names
    ]
    if artifact.details.of(WeightsByLayer):  # whose section has the same by layer
        return [Heading(f"{artifact.name}: ops"), *others] if others else []
    shown: list[Block] = []
    largest = sorted(audit.rows, key=lambda row: -row.bytes)[:DRAWN]
    if len(largest) > 1 and any(row.bytes != row.float_bytes for row in largest):
        bars = [
            Bar(row.layer, (row.float_bytes, row.bytes), change(f"{row.float_bytes:,}", bytes_(row.bytes)))
            for row in largest
        ]
        chart = Bars(f"Bytes by layer of {artifact.name}", bars, ("in float32", f"in {artifact.name}"))
        rest = len(audit.rows) - len(largest)
        left_out = f"; {rest} smaller ones are in the table" if rest else ""
        shown.append(Figure(chart, f"Bytes of weights and biases, the largest layer first{left_out}."))
    shown.append(Table(AUDIT, [audit_cells(row) for row in audit.rows], left=3))
    return [Heading(f"{artifact.name}: bytes by layer"), Grid(shown), *others]


SECTION = Section("audit", "Bytes by layer", rank=32, within="weights", of_artifact=blocks)

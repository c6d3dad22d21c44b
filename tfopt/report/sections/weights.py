"""Section on the weights of each layer: bytes, zeros and distinct values, before a stage and after it."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.weights import LayerWeights, WeightFigures, WeightsByLayer
from tfopt.report.blocks import Block, Code, Figure, Folded, Heading, OnPage, Paragraph, Table
from tfopt.report.charts import Bar, Bars
from tfopt.report.section import Section
from tfopt.report.units import bytes_, change

HEADERS = ("layer", "kind", "precision", "parameters", "bytes", "scales", "zeros", "distinct values")
# Layers that the chart shows, and rows up to which the page shows the table at once where something changed.
DRAWN, OPEN = 12, 12
# Fraction of a file from which on it is said what all else is.
MUCH = 0.1
# Ops that a layer begins with and that hold no weights.
MOVING = frozenset({"RESHAPE", "EXPAND_DIMS", "TRANSPOSE", "PAD", "PADV2", "QUANTIZE", "DEQUANTIZE", "SQUEEZE"})
# Rows of the table on the page.
LISTED = 100


def blocks(artifact: Artifact) -> list[Block]:
    """Which layer is the largest, and a row for each layer; where something changed, from what to what."""
    weights = artifact.details.of(WeightsByLayer)
    if not weights or not weights.rows:
        return []
    rows = [_cells(row) for row in weights.rows]
    table = Table(HEADERS, rows, left=3, most=LISTED)
    found: list[Block] = [Heading(f"{artifact.name}: weights by layer"), Paragraph(_totals(weights))]
    if chart := _chart(artifact.name, weights):
        found.append(OnPage([chart]))
    shown = len(rows) <= OPEN and any(row.before and row.before != row.after for row in weights.rows)
    return [*found, table if shown else Folded(f"{len(rows)} layers", [table])]


def _totals(weights: WeightsByLayer) -> tuple[str, ...]:
    largest = weights.largest
    if largest is None:
        return ()
    of_layers = sum(row.after.bytes for row in weights.rows)
    scales = sum(row.after.scale_bytes for row in weights.rows)
    own = largest.after.bytes
    said = f" is the largest layer with {bytes_(own)}, {own / max(of_layers, 1):.0%} of the bytes of all weights."
    more = ""
    if weights.file_bytes is not None and weights.overhead is not None:
        more = (
            f" The file's {bytes_(weights.file_bytes)} are {bytes_(of_layers)} of weights and biases, "
            f"{bytes_(scales)} of scales, and {bytes_(weights.overhead)} of all else{_else(weights)}."
        )
    if weights.others:
        more += f" {weights.others} smaller layers are left out."
    return Code(largest.layer), said + more


def _else(weights: WeightsByLayer) -> str:
    """What a file has besides weights and scales, where that is much of it."""
    whole, rest, constants = weights.file_bytes or 0, weights.overhead or 0, weights.constant_bytes
    if constants is None or not weights.ops or rest <= MUCH * whole:
        return ""
    graph = max(rest - constants, 0)
    known = f"{constants:,} B of other constants, such as shapes and tables"
    return f": {known}, and {graph:,} B of the graph with its {weights.ops:,} ops"


def _chart(name: str, weights: WeightsByLayer) -> Figure | None:
    """The bytes of the largest layers; none where they did not change, or where there is one layer alone."""
    changed = any(row.before and row.before.bytes != row.after.bytes for row in weights.rows)
    if not changed or len(weights.rows) < 2:
        return None
    drawn = sorted(weights.rows, key=lambda row: -row.after.bytes)[:DRAWN]
    bars = [
        Bar(row.layer, (row.before.bytes if row.before else None, row.after.bytes), f"{_bytes(row)} B") for row in drawn
    ]
    rest = len(weights.rows) - len(drawn)
    left_out = f"; {rest} smaller ones are in the table" if rest else ""
    chart = Bars(f"Bytes by layer of {name}", bars, ("before", f"in {name}"))
    return Figure(chart, f"Bytes of weights and biases, the largest layer first{left_out}.")


def _cells(row: LayerWeights) -> tuple[str, ...]:
    before, after = row.before, row.after
    return (
        row.layer,
        _kind(row.kind),
        change(before.precision if before else None, after.precision),
        change(f"{before.parameters:,}" if before else None, f"{after.parameters:,}"),
        _bytes(row),
        f"{after.scale_bytes:,}" if after.scale_bytes else "-",
        change(_zeros(before) if before else None, _zeros(after)),
        change(_values(before) if before else None, _values(after)),
    )


def _kind(ops: str) -> str:
    """The op that holds the weights of a layer, and how many others the layer has in the file."""
    names = ops.split("+")
    own = next((name for name in names if name not in MOVING), names[0])
    return own if len(names) == 1 else f"{own} and {len(names) - 1} more"


def _bytes(row: LayerWeights) -> str:
    return change(f"{row.before.bytes:,}" if row.before else None, f"{row.after.bytes:,}")


def _zeros(figures: WeightFigures) -> str:
    return f"{figures.sparsity:.1%}" if figures.kernels else "-"


def _values(figures: WeightFigures) -> str:
    return "-" if not figures.kernels else "over 256" if figures.values is None else str(figures.values)


SECTION = Section("weights", "Weights by layer", rank=30, of_artifact=blocks)

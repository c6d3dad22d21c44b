"""Section on removed channels, layer by layer."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import ChangedLayer, ChannelRemoval
from tfopt.report.blocks import Block, Code, Figure, Grid, Heading, Strong, Table, Text
from tfopt.report.charts import Bar, Bars
from tfopt.report.section import Section
from tfopt.report.units import change

HEADERS = ("layer", "kind", "channels", "parameters", "FLOPs")
# The layers with the most parameters, which the chart shows.
DRAWN = 16


def blocks(artifact: Artifact) -> list[Block]:
    """Every layer with weights, before and after, and all of them together."""
    removal = artifact.details.of(ChannelRemoval)
    if not removal or not removal.layers:
        return []
    layers = removal.layers
    sums = (_summed([layer.parameters for layer in layers]), _summed([layer.flops for layer in layers]))
    rows = [_cells(layer) for layer in layers]
    total = (Strong("all"), "", "", *map(_change, sums))
    largest = sorted(layers, key=lambda layer: -layer.parameters[0])[:DRAWN]
    bars = [Bar(layer.path, layer.parameters, _change(layer.parameters)) for layer in largest]
    chart = Bars(f"Parameters by layer of {artifact.name}", bars, ("before", "after"))
    found: list[Block] = [Heading(f"{artifact.name}: channels removed")]
    table = Table(HEADERS, [total, *rows], left=2)
    drawn = [Figure(chart, "Parameters, the largest layer first.")] if len(bars) > 1 else []
    return [*found, Grid([*drawn, table])]


def _cells(layer: ChangedLayer) -> tuple[Text, ...]:
    return (Code(layer.path), layer.kind, *map(_change, (layer.channels, layer.parameters, layer.flops)))


def _summed(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(before for before, _ in pairs), sum(after for _, after in pairs)


def _change(pair: tuple[int, int]) -> str:
    before, after = pair
    return change(f"{before:,}", f"{after:,}")


SECTION = Section("channels", "Channels removed", rank=56, of_artifact=blocks)

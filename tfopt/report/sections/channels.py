"""Section on removed channels, layer by layer."""

from __future__ import annotations

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.training import ChangedLayer, ChannelRemoval
from tfopt.report.markdown import headed, table
from tfopt.report.section import Section

HEADERS = ("layer", "", "channels", "parameters", "FLOPs")


def markdown(artifact: Artifact) -> list[str]:
    """Every layer with weights, before and after, and all of them together."""
    removal = artifact.details.of(ChannelRemoval)
    if not removal or not removal.layers:
        return []
    sums = (_summed([layer.parameters for layer in removal.layers]), _summed([layer.flops for layer in removal.layers]))
    lines = table(HEADERS, map(_cells, removal.layers), left=2)
    return headed(f"{artifact.name}: channels removed", *lines, f"| **all** | | | {' | '.join(map(_change, sums))} |")


def _cells(layer: ChangedLayer) -> tuple[str, ...]:
    return (f"`{layer.path}`", layer.kind, *map(_change, (layer.channels, layer.parameters, layer.flops)))


def _summed(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(before for before, _ in pairs), sum(after for _, after in pairs)


def _change(pair: tuple[int, int]) -> str:
    before, after = pair
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


SECTION = Section("channels", rank=60, of_artifact=markdown)

"""What removing channels came to, layer by layer, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfopt.recipe.artifact import Artifact

HEADERS = ("layer", "", "channels", "parameters", "FLOPs")


def section(artifact: Artifact) -> list[str]:
    """What `report.md` says of every layer with weights, before and after, and of all of them together."""
    layers = artifact.details.get("layers")
    if not layers or "channels" not in layers[0]:
        return []
    lines = [f"| {' | '.join(HEADERS)} |", f"|---|---|{'---:|' * 3}"]
    lines += [f"| {' | '.join(_cells(layer))} |" for layer in layers]
    sums = ([sum(layer[what][side] for layer in layers) for side in (0, 1)] for what in ("parameters", "flops"))
    lines += [f"| **all** | | | {' | '.join(map(_change, sums))} |"]
    return ["", f"## {artifact.name}: channels removed", "", *lines]


def _cells(layer: dict[str, Any]) -> list[str]:
    return [
        f"`{layer['path']}`",
        layer["kind"],
        *(_change(layer[what]) for what in ("channels", "parameters", "flops")),
    ]


def _change(pair: list[int]) -> str:
    before, after = pair
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"

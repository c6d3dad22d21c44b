"""The cost of one file on a target: by layer, and with the target's own file written beside the `.tflite`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfopt.recipe.artifact import storage_errors
from tfopt.recipe.details.device_files import DeviceFile, LayerCost
from tfopt.recipe.export import DeviceCost, Export, OperatorCost, Target


@dataclass(frozen=True)
class TargetCost:
    """The cost of a finished file on a target.

    Args:
        target: The target.
        cost: What the target told.
        layers: The cost by layer.
    """

    target: Target
    cost: DeviceCost
    layers: tuple[LayerCost, ...] = ()

    def own_file(self, beside: Path) -> Path | None:
        """Where the target's own file lies beside a `.tflite`; None where it takes that itself."""
        if self.cost.content is None:
            return None
        return beside.with_name(f"{beside.stem}.{self.target.suffix or self.target.name}.tflite")

    def write(self, beside: Path) -> DeviceFile:
        """Writes the target's own file beside a `.tflite`, where there is one.

        Raises:
            StorageError: The file cannot be written.
        """
        file, content = self.own_file(beside), self.cost.content
        if file is not None and content is not None:
            with storage_errors(file):
                file.write_bytes(content)
        return self.record(file.name if file else "")

    def record(self, file: str = "") -> DeviceFile:
        """The entry of the file for `artifact.json`.

        Args:
            file: Name of the target's own file; empty where it is not kept.
        """
        content = self.cost.content or b""
        digest = hashlib.sha256(content).hexdigest() if content and file else ""
        figures, notes = dict(self.cost.figures), self.cost.notes
        return DeviceFile(self.target.name, file, digest, len(content), figures, notes, self.layers)


def cost_of(content: bytes, target: Target, export: Export, layer: Callable[[int], str] | None = None) -> TargetCost:
    """What a finished file costs on a target that has a tool for it.

    Args:
        content: Bytes of the `.tflite`.
        target: The target, whose `cost` is there.
        export: The settings with the target's options.
        layer: Names the layer that computes a tensor of the first graph, by the tensor's number.

    Raises:
        InputError: The target's tool is not installed.
        ConversionError: The target cannot take the file.
    """
    if target.cost is None:
        raise ValueError(f"target {target.name} has no tool that tells what a file costs")
    found = target.cost(content, export)
    return TargetCost(target, found, layer_costs(found.operators, layer))


def layer_costs(operators: Sequence[OperatorCost], layer: Callable[[int], str] | None = None) -> tuple[LayerCost, ...]:
    """The cost of operators by layer, in the order of their first operators; each is its own where no layer is known.

    Args:
        operators: The operators.
        layer: Names the layer that computes a tensor, by the tensor's number.
    """
    groups: dict[str, list[OperatorCost]] = {}
    for number, one in enumerate(operators):
        name = layer(one.tensor) if layer and one.tensor is not None else f"operator {number}"
        groups.setdefault(name, []).append(one)
    found = []
    for name, members in groups.items():
        cycles = sum(one.cycles for one in members)
        busy = sum(one.mac_utilization * one.cycles for one in members)
        kinds = ", ".join(dict.fromkeys(one.kind for one in members))
        left = "; ".join(dict.fromkeys(f"{one.kind}: {one.on_cpu}" for one in members if one.on_cpu))
        found.append(LayerCost(name, kinds, cycles, busy / cycles if cycles else 0.0, left))
    return tuple(found)

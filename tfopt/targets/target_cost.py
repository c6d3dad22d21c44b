"""The cost of one file on a target: by layer, and with the target's own file written beside the `.tflite`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfopt.durable_files import storage_errors
from tfopt.errors import InputError
from tfopt.recipe.details.decoding import DecodedKernels
from tfopt.recipe.details.device_files import DeviceFile, LayerCost
from tfopt.recipe.device_cost import DeviceCost, OperatorCost
from tfopt.recipe.export import Export
from tfopt.recipe.settings import either
from tfopt.recipe.target import TARGETS, Target

# What has to be known of the figures of a file that the CPU runs in part.
WITHOUT_CPU = "whose part is not in the time and the cycles"


@dataclass(frozen=True)
class TargetCost:
    """The cost of a finished file on a target.

    Args:
        target: The target.
        cost: What the target told.
        layers: The cost by layer.
        decoding: What decoding its kernels saves and costs, where that was asked for.
    """

    target: Target
    cost: DeviceCost
    layers: tuple[LayerCost, ...] = ()
    decoding: DecodedKernels | None = None

    def own_file(self, beside: Path) -> Path | None:
        """Where the target's own file lies beside a `.tflite`; None where it takes that itself."""
        return None if self.cost.content is None else self.target.own_file(beside)

    def write(self, beside: Path, folder: Path | None = None) -> DeviceFile:
        """Writes the target's own file beside a `.tflite`, where there is one.

        Args:
            beside: The `.tflite`.
            folder: The folder of the result that it is of; its own if not given.

        Raises:
            StorageError: The file cannot be written.
        """
        file, content = self.own_file(beside), self.cost.content
        if file is not None and content is not None:
            with storage_errors(file):
                file.write_bytes(content)
        return self.record(file.relative_to(folder or beside.parent).as_posix() if file else "")

    def record(self, file: str = "") -> DeviceFile:
        """The entry of the file for `artifact.json`.

        Args:
            file: The target's own file, relative to the folder of the result; empty where it is not kept.
        """
        content = self.cost.content or b""
        digest = hashlib.sha256(content).hexdigest() if content and file else ""
        figures, notes = dict(self.cost.figures), self.cost.notes
        of = self.target
        return DeviceFile(of.name, file, digest, len(content), figures, notes, self.layers, of.version)


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
    found = target.costs(content, export)
    return TargetCost(target, found, layer_costs(found.operators, layer))


def device_file(content: bytes, export: Export, samples: Mapping[str, np.ndarray] | None = None) -> DeviceFile:
    """What a finished file, of whatever settings, costs on a target, by the target's tool or by running it there.

    Args:
        content: Bytes of the `.tflite`.
        export: Settings that name the target, with its options.
        samples: Inputs `(samples, ...)` by input name, for a target that runs the file; zeros if not given.

    Raises:
        InputError: The target tells nothing of a file, or what it needs is not installed.
        ConversionError: The target does not take the file.
    """
    target = TARGETS[export.target]
    target.check_installed()
    if target.cost is None and target.measure is None:
        raise InputError(f"target {target.name} tells nothing of a file. Take one of {either(_telling())}.")
    found, measured = DeviceFile(target.name, "", "", 0, version=target.version), dict[str, float]()
    if target.measure is not None:  # before the cost, which knows what a run has told
        measured = target.measure(content, zeros(content) if samples is None else samples).figures
    if target.cost is not None:
        found = cost_of(content, target, export, _names_in(content)).record()
    found = replace(found, figures={**found.figures, **measured})
    left = ", ".join(layer.layer for layer in found.layers if layer.on_cpu)
    return replace(found, notes=(*found.notes, f"left to the CPU, {WITHOUT_CPU}: {left}")) if left else found


def _telling() -> list[str]:
    return [name for name, target in TARGETS.items() if target.cost or target.measure]


def zeros(content: bytes) -> dict[str, np.ndarray]:
    """One sample of zeros for each input of a file, in the float model's units."""
    from tfopt.tflite.file import read

    return {name: np.zeros((1, *shape[1:]), np.float32) for name, (_, shape) in read(content).inputs.items()}


def _names_in(content: bytes) -> Callable[[int], str]:
    """Names a tensor of a file's first graph by its number: as the file does, or by the number where it does not."""
    from tfopt.tflite import flatbuffer

    tensors = flatbuffer.view(content).subgraphs[0].tensors
    names = [(tensor.name or b"").decode(errors="replace") for tensor in tensors]
    return lambda number: (names[number] if number < len(names) else "") or f"tensor {number}"


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
        found.append(LayerCost(name, kinds, cycles, busy / cycles if cycles else 0.0, _left(members)))
    return tuple(found)


def _left(operators: Sequence[OperatorCost]) -> str:
    """Why operators are left to the CPU, those with the same reason together: `Neg, Quantize: ...; Dequantize: ...`."""
    kinds: dict[str, list[str]] = {}
    for one in operators:
        if one.on_cpu:
            kinds.setdefault(one.on_cpu, []).append(one.kind)
    return "; ".join(f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in kinds.items())

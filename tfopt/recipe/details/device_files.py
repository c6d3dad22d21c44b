"""Details of targets: a target's own files beside a `.tflite`, and what files cost on targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs on a target.

    Args:
        layer: Paths of the Keras layers that its operators compute; the operator's own name where they are not known.
        kinds: Its operators, each once.
        cycles: Cycles of the accelerator.
        mac_utilization: The share of the accelerator's multipliers that it keeps busy, 0-1, over its cycles.
        on_cpu: Why some of it is not run by the accelerator; empty where all of it is.
    """

    layer: str
    kinds: str
    cycles: float
    mac_utilization: float
    on_cpu: str = ""


@dataclass(frozen=True)
class DeviceFile:
    """A file as a target is given it.

    Args:
        target: The target's name.
        file: Its own file, relative to the folder of the result, such as `model.vela.tflite`; empty where it takes the
            `.tflite` itself.
        sha256: Digest of that file; empty where there is none.
        bytes: Size of that file.
        figures: What the file costs there by metric name, such as `npu_cycles`.
        notes: What has to be known of the figures or the file, sentences without a full stop.
        layers: The cost by layer, where the target tells it.
        version: Version of the target's tool; empty where it has none.
    """

    target: str
    file: str
    sha256: str
    bytes: int
    figures: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layers: tuple[LayerCost, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class FileOnTarget:
    """A file on a target.

    Args:
        file: Name of the stage that made the file.
        target: The target's name.
        figures: What was measured of it there by metric name; empty where the target does not take it.
        reason: Why the target does not take it, in few words; empty where it does.
    """

    file: str
    target: str
    figures: dict[str, float]
    reason: str = ""


@dataclass(frozen=True)
class FilesOnTargets(Detail):
    """Files on targets, each on each.

    Args:
        rows: An entry for each file and target, file by file.
        notes: What has to be known of a target's figures, such as the memory that they are for, by its name.
    """

    name: ClassVar[str] = "on_targets"

    rows: tuple[FileOnTarget, ...]
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class DeviceFiles(Detail):
    """What targets are given of a result, and what it costs there.

    Args:
        files: An entry for each target.
    """

    name: ClassVar[str] = "device_files"

    files: tuple[DeviceFile, ...]

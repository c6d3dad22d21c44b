"""What a target finds of a file: what it looks at, what it measured by running it, and what the file costs there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class FileAudit(Protocol):
    """What a target looks at in a finished file."""

    @property
    def floating(self) -> tuple[str, ...]:
        """Ops that compute in floating point."""

    @property
    def loops(self) -> tuple[str, ...]:
        """Layers that are loops in the file."""


@dataclass(frozen=True)
class Measurement:
    """The result of running a file on a target's own runtime.

    Args:
        outputs: Outputs `(samples, ...)` by name, in the float model's units.
        figures: Measured values by metric name, such as `arena_bytes`.
    """

    outputs: dict[str, np.ndarray]
    figures: dict[str, float]


@dataclass(frozen=True)
class OperatorCost:
    """What one operator of a file costs on a target.

    Args:
        tensor: Number of its output among the tensors of the file's first graph; None where it is not known.
        kind: Name of the operator, as the tool that tells the cost has it.
        cycles: Cycles of the accelerator.
        mac_utilization: The share of the accelerator's multipliers that it keeps busy, 0-1.
        on_cpu: Why the accelerator does not run it, a sentence without a full stop; empty for one that it runs.
    """

    tensor: int | None
    kind: str
    cycles: float = 0.0
    mac_utilization: float = 0.0
    on_cpu: str = ""


@dataclass(frozen=True)
class DeviceCost:
    """What a finished file costs on a target, told without samples.

    Args:
        figures: Values by metric name, such as `npu_cycles`, `compiled_bytes` or `flash_bytes`.
        operators: The cost of each operator, in order, where the target tells it.
        content: Bytes of the target's own file, which is what a device is given; None where it takes the `.tflite`.
        notes: What has to be known of the figures, such as the memory that they are for; sentences without a full stop.
        cpu_way: How to allow operators on the CPU, where they are refused; empty where they are not.
    """

    figures: dict[str, float]
    operators: tuple[OperatorCost, ...] = ()
    content: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    cpu_way: str = ""

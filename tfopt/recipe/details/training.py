"""Details of stages that train: what was logged, and what became of the weights meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class TrainingHistory(Detail):
    """What Keras logged at the end of each epoch.

    Args:
        values: A value for each epoch, by the name of what was logged, such as `val_loss`.
    """

    name: ClassVar[str] = "history"
    bare: ClassVar[bool] = True

    values: Mapping[str, list[float]]


@dataclass(frozen=True)
class KernelSparsity(Detail):
    """The zeros of each kernel that a stage pruned.

    Args:
        values: The fraction of zeros, 0-1, by the kernel's path, such as `conv2d/kernel`.
    """

    name: ClassVar[str] = "sparsity"
    bare: ClassVar[bool] = True

    values: dict[str, float]


@dataclass(frozen=True)
class SparsityRecord:
    """The zeros of every kernel that could be pruned, at one moment of the training.

    Args:
        step: Counted from 1.
        epoch: Counted from 1.
        overall: The fraction of zeros of all kernels together, 0-1.
        kernels: That of each kernel by its path.
    """

    step: int
    epoch: int
    overall: float
    kernels: dict[str, float]


@dataclass(frozen=True)
class SparsityRecords(Detail):
    """How zeros came about during the training.

    Args:
        records: The oldest first.
    """

    name: ClassVar[str] = "sparsity_log"
    bare: ClassVar[bool] = True

    records: tuple[SparsityRecord, ...]


@dataclass(frozen=True)
class DistinctValues(Detail):
    """How many values the weights of each clustered tensor share.

    Args:
        values: The number of distinct values by the tensor's path, such as `conv2d/kernel`.
    """

    name: ClassVar[str] = "distinct_values"
    bare: ClassVar[bool] = True

    values: dict[str, int]


@dataclass(frozen=True)
class ChangedLayer:
    """One layer with weights, before and after channels were removed.

    Args:
        path: The layer.
        kind: Its class.
        channels: Channels of its output, before and after.
        parameters: Its weights and biases, before and after.
        flops: Its floating point operations for one sample, before and after.
    """

    path: str
    kind: str
    channels: tuple[int, int]
    parameters: tuple[int, int]
    flops: tuple[int, int]


@dataclass(frozen=True)
class ChannelRemoval(Detail):
    """What removing channels came to.

    Args:
        layers: Every layer with weights, in the order in which they run.
    """

    name: ClassVar[str] = "layers"
    bare: ClassVar[bool] = True

    layers: tuple[ChangedLayer, ...]

"""Details of stages that train: the history, and the sparsity, distinct values and channels of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tfopt.recipe.details.detail import Detail


@dataclass(frozen=True)
class TrainingHistory(Detail):
    """The training history: what Keras logged at the end of each epoch.

    Args:
        values: One value per epoch by name, such as `val_loss`.
    """

    name: ClassVar[str] = "history"
    bare: ClassVar[bool] = True

    values: Mapping[str, list[float]]


@dataclass(frozen=True)
class KernelSparsity(Detail):
    """The sparsity of each kernel that a stage pruned.

    Args:
        values: The fraction of zeros, 0-1, by the kernel's path, such as `conv2d/kernel`.
    """

    name: ClassVar[str] = "sparsity"
    bare: ClassVar[bool] = True

    values: dict[str, float]


@dataclass(frozen=True)
class SparsityRecord:
    """The sparsity of every prunable kernel at one step of the training.

    Args:
        step: Training step, from 1.
        epoch: Epoch, from 1.
        overall: Fraction of zeros over all kernels together, 0-1.
        kernels: Fraction of zeros of each kernel, 0-1, by its path.
    """

    step: int
    epoch: int
    overall: float
    kernels: dict[str, float]


@dataclass(frozen=True)
class SparsityRecords(Detail):
    """The sparsity over the training.

    Args:
        records: The records, oldest first.
    """

    name: ClassVar[str] = "sparsity_log"
    bare: ClassVar[bool] = True

    records: tuple[SparsityRecord, ...]


@dataclass(frozen=True)
class DistinctValues(Detail):
    """The number of distinct values of each clustered tensor.

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
        path: Path of the layer.
        kind: Class name of the layer.
        channels: Output channels, before and after.
        parameters: Number of weights and biases, before and after.
        flops: Floating point operations per sample, before and after.
    """

    path: str
    kind: str
    channels: tuple[int, int]
    parameters: tuple[int, int]
    flops: tuple[int, int]


@dataclass(frozen=True)
class ChannelRemoval(Detail):
    """The result of removing channels, layer by layer.

    Args:
        layers: Every layer with weights, in the order in which they run.
    """

    name: ClassVar[str] = "layers"
    bare: ClassVar[bool] = True

    layers: tuple[ChangedLayer, ...]

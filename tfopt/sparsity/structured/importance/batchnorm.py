"""`batchnorm`: the scale that a BatchNormalization gives a channel.

References:
    Liu et al., Learning efficient convolutional networks through network slimming, arXiv:1708.06519.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfopt.sparsity.structured.importance import ChannelScore, by_group

if TYPE_CHECKING:
    from tfopt.sparsity.structured.dependency_graph import DependencyGraph


def batchnorm(structure: DependencyGraph) -> dict[int, float]:
    """The mean of a group's absolute BatchNorm scales; only groups that a BatchNorm with a scale follows have one."""
    total, count = np.zeros(len(structure.channels)), np.zeros(len(structure.channels))
    for call, axis in structure.axes:
        if call.kind == "BatchNormalization" and axis.variable is call.operation.gamma:
            np.add.at(total, axis.ids, np.abs(axis.variable.numpy().astype(np.float64)))
            np.add.at(count, axis.ids, 1)
    counts = by_group(structure, count)
    return {group: value / counts[group] for group, value in by_group(structure, total).items() if counts[group]}


BATCHNORM = ChannelScore(
    "batchnorm", "Its BatchNorm scale, where it has one.", lambda structure, inputs: batchnorm(structure), rank=4
)

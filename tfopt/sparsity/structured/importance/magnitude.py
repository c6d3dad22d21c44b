"""`l1` and `l2`: the norm of all weights of a group of channels, those that make them and those that read them.

References:
    Li et al., Pruning filters for efficient ConvNets, arXiv:1608.08710.
    Fang et al., DepGraph: towards any structural pruning, arXiv:2301.12900 (over all that goes together).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfopt.sparsity.structured.importance import ChannelScore, by_group

if TYPE_CHECKING:
    from tfopt.sparsity.structured.dependency_graph import DependencyGraph


def magnitude(structure: DependencyGraph, order: int = 2) -> dict[int, float]:
    """The L1 or L2 norm of all weights of a group: those that make its channels and those that read them.

    Args:
        structure: The dependency graph of the model.
        order: Order of the norm, 1 or 2.
    """
    total = np.zeros(len(structure.channels))
    for _, axis in structure.axes:
        if len(axis.variable.shape) > 1:
            values = np.abs(axis.variable.numpy().astype(np.float64)) ** order
            others = tuple(i for i in range(values.ndim) if i != axis.axis)
            np.add.at(total, axis.ids, values.sum(axis=others))
    return {group: value ** (1 / order) for group, value in by_group(structure, total).items()}


L1 = ChannelScore(
    "l1", "The sum of the magnitudes of its weights.", lambda structure, inputs: magnitude(structure, 1), rank=1
)
L2 = ChannelScore("l2", "The Euclidean norm of its weights.", lambda structure, inputs: magnitude(structure, 2), rank=2)

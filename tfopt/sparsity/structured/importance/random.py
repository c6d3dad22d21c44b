"""`random`: random scores, the baseline that every other score has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfopt.sparsity.structured.importance import ChannelScore, groups_of

if TYPE_CHECKING:
    from tfopt.sparsity.structured.dependency_graph import DependencyGraph


def random(structure: DependencyGraph, seed: int = 0) -> dict[int, float]:
    """Random scores, the baseline that every other has to beat."""
    groups = groups_of(structure)
    return dict(zip(groups, np.random.default_rng(seed).random(len(groups)).tolist(), strict=True))


RANDOM = ChannelScore(
    "random",
    "A random number, which every other score has to beat.",
    lambda structure, inputs: random(structure, inputs.seed),
    rank=6,
)

"""The registry of allocations, one per file: how the zeros are distributed over the kernels of a model.

A new allocation is a new file here, or an entry point of the group `tfopt.allocations` in another package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.errors import InputError
from tfopt.registry import Registry


@dataclass(frozen=True)
class Allocation:
    """A way to distribute zeros over kernels: by a sparsity for each kernel, or by one ranking of all weights.

    Args:
        name: The name in a recipe.
        about: One sentence that says where the zeros go.
        sparsities: Maps the kernels' shapes and the overall sparsity, 0-1, to the sparsity of each kernel, 0-1; None
            if each kernel has the overall sparsity.
        together: Whether the weights of all kernels are ranked together and share one threshold.
        rank_scores: With `together`: maps the scores of one kernel, `(n,)`, positive and rising, to scores comparable
            between kernels, `(n,)` and rising; None if the scores are comparable as they are.
        rank_tensors: `rank_scores` in TensorFlow ops, for scores that rise from 0; a zero stays zero.
        rank: Position in lists.
    """

    name: str
    about: str
    sparsities: Callable[[Sequence[tuple[int, ...]], float], list[float]] | None = None
    together: bool = False
    rank_scores: Callable[[np.ndarray], np.ndarray] | None = None
    rank_tensors: Callable[[Any], Any] | None = None
    rank: int = 100

    def __post_init__(self) -> None:
        if (self.rank_scores is None) != (self.rank_tensors is None):
            raise InputError(f"the allocation {self.name} ranks scores in NumPy and in TensorFlow ops: give it both.")


ALLOCATIONS = Registry("tfopt.sparsity.allocations", Allocation, "tfopt.allocations")

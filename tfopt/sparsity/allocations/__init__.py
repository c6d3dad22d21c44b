"""How the zeros are shared out among the kernels of a model: one allocation to a file.

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
    """A way to share out zeros among kernels: by a sparsity for each of them, or by one ranking of all their weights.

    Args:
        name: The word in a recipe.
        about: One sentence that says where the zeros go.
        sparsities: From the kernels' shapes and the sparsity of all of them together, 0-1, to the sparsity of each.
            None where each has that of all.
        together: Whether the weights of all kernels are ranked together, and share one threshold.
        rank_scores: Where they are: from the scores of one kernel, `(n,)`, positive and rising, to what can be compared
            between kernels, `(n,)` and rising. None where the scores can be compared as they are.
        rank_tensors: The same in TensorFlow ops, of scores that rise from 0 on: a zero stays zero.
        rank: The place in lists.
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

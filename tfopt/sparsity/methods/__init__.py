"""The registry of pruning methods, one per file: which weights of a kernel go, and what becomes of those that stay.

A new method is a new file here, or an entry point of the group `tfopt.pruning_methods` in another package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfopt.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from tfopt.sparsity.least_squares import LayerProblem


@dataclass(frozen=True)
class PruningMethod:
    """A way to prune a kernel.

    Args:
        name: The name in a recipe.
        about: One sentence that says which weights go.
        weights: Maps the least-squares problem of a layer, the pattern (`sparsity.patterns`) and a sparsity, 0-1, to
            the pruned weights `(inputs, outputs)`. It works on samples, once, and prunes no further in training. None
            for masks by magnitude, which need no samples and can be made again at any step of a training.
        rank: Position in lists.
    """

    name: str
    about: str
    weights: Callable[[LayerProblem, Any, float], np.ndarray] | None = None
    rank: int = 100

    @property
    def needs_samples(self) -> bool:
        """Whether it works on samples."""
        return self.weights is not None


METHODS = Registry("tfopt.sparsity.methods", PruningMethod, "tfopt.pruning_methods")

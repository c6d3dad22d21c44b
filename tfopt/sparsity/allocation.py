"""How the zeros are shared out among the kernels of a model.

`uniform` gives each kernel the same sparsity, as TF-MOT does. `global` ranks the weights of all kernels together and
removes the smallest, wherever they are. `lamp` does the same with `w ** 2 / sum(v ** 2)`, the sum over the weights v of
the kernel that are as large as w or larger, which spares kernels of few or small weights. `erk` gives a kernel with
many weights more zeros than one with few. Rules by layer pattern go before any of these.

References:
    Lee et al., Layer-adaptive sparsity for the magnitude-based pruning, arXiv:2010.07611 (LAMP).
    Evci et al., Rigging the lottery: making all tickets winners, arXiv:1911.11134 (Erdos-Renyi-Kernel).
    Frankle and Carbin, The lottery ticket hypothesis, arXiv:1803.03635 (global ranking).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tfopt.models.layers import Kernel, Rules, as_rules, by_rules
from tfopt.sparsity.magnitude import kept, magnitude_threshold

Allocation = Literal["uniform", "global", "lamp", "erk"]
ALLOCATIONS = ("uniform", "global", "lamp", "erk")
# Those that rank the weights of several kernels together.
SHARED = ("global", "lamp")


def allocate(
    kernels: Sequence[Kernel], sparsity: float, allocation: str = "uniform", rules: Rules[float] | None = None
) -> list[float | None]:
    """The sparsity of each kernel at the end of a schedule, 0-1; None for those that share one threshold.

    Args:
        kernels: What is pruned.
        sparsity: Of all kernels without a rule together, 0-1.
        allocation: One of `ALLOCATIONS`.
        rules: Sparsities by layer pattern; of several that match a layer the last one counts.

    Raises:
        ModelError: A rule's pattern matches no layer that is pruned.
    """
    ruled = by_rules([kernel.place for kernel in kernels], as_rules(rules))
    rest = [index for index, value in enumerate(ruled) if value is None]
    if not rest or (allocation in SHARED and sparsity):
        return ruled
    shares = [sparsity] * len(rest)
    if allocation == "erk":
        shares = erdos_renyi_kernel([tuple(kernels[index].variable.shape) for index in rest], sparsity)
    for index, share in zip(rest, shares, strict=True):
        ruled[index] = share
    return ruled


def erdos_renyi_kernel(shapes: Sequence[tuple[int, ...]], sparsity: float) -> list[float]:
    """Sparsities that leave each kernel a density proportional to `sum(shape) / prod(shape)`.

    A kernel whose density would pass 1 stays dense, and the others make up for it.

    Args:
        shapes: The kernels' shapes.
        sparsity: Of all of them together, 0-1.

    Returns:
        The sparsity of each, 0-1.
    """
    sizes = np.array([np.prod(shape) for shape in shapes], float)
    raw = np.array([sum(shape) for shape in shapes], float) / sizes
    budget = (1 - sparsity) * sizes.sum()
    dense = np.zeros(len(shapes), bool)
    while True:
        left = budget - sizes[dense].sum()
        weight = (raw * sizes)[~dense].sum()
        scale = left / weight if weight else 0.0
        over = ~dense & (raw * scale > 1)
        if not over.any():
            break
        dense |= over
    return [float(d) for d in np.where(dense, 0.0, 1 - raw * scale)]


def shared_thresholds(scores: Sequence[np.ndarray], sparsity: float, allocation: str) -> list[float]:
    """The score from which on each kernel keeps its units, where kernels are ranked together.

    Every kernel keeps at least its largest.

    Args:
        scores: Of each kernel, not negative.
        sparsity: Of all together, 0-1.
        allocation: `global` or `lamp`.
    """
    flat = [np.abs(array).ravel().astype(np.float32, copy=False) for array in scores]
    if allocation == "global":
        shared = magnitude_threshold(np.concatenate(flat), sparsity)
        return [min(shared, float(array.max())) for array in flat]
    ordered = [np.sort(array[array > 0]) for array in flat]
    ranks = [lamp(array) for array in ordered]
    together = np.concatenate(ranks)
    count = kept(sum(array.size for array in flat), sparsity)
    if count > together.size:
        return [0.0] * len(flat)
    least = np.partition(together, together.size - count)[together.size - count]
    first = [min(int(np.searchsorted(rank, least)), rank.size - 1) for rank in ranks]
    return [float(array[index]) if array.size else 0.0 for array, index in zip(ordered, first, strict=True)]


def lamp(ordered: np.ndarray) -> np.ndarray:
    """The LAMP score of each of a kernel's scores, `s ** 2` over the sum of squares from there on.

    Args:
        ordered: `(n,)`, positive and rising.
    """
    squares = ordered.astype(np.float64) ** 2
    return squares / np.cumsum(squares[::-1])[::-1]

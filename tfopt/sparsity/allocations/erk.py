"""`erk`, Erdos-Renyi-Kernel: a kernel with many weights gets more zeros than one with few.

References:
    Evci et al., Rigging the lottery: making all tickets winners, arXiv:1911.11134.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfopt.sparsity.allocations import Allocation


def erdos_renyi_kernel(shapes: Sequence[tuple[int, ...]], sparsity: float) -> list[float]:
    """Sparsities that leave each kernel a density proportional to `sum(shape) / prod(shape)`.

    A kernel whose density would pass 1 stays dense, and the others make up for it.

    Args:
        shapes: Shapes of the kernels.
        sparsity: Fraction of zeros over all kernels together, 0-1.

    Returns:
        The sparsity of each kernel, 0-1.
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


ERK = Allocation("erk", "Kernels with many weights are sparser than those with few.", erdos_renyi_kernel, rank=4)

"""How the zeros are shared out among the kernels of a model.

`uniform` gives each kernel the same sparsity, as TF-MOT does. `global` ranks the weights of all kernels together and
removes the smallest, wherever they are. `erk` gives a kernel with many weights more zeros than one with few. Rules by
layer pattern go before any of these.

References:
    Evci et al., Rigging the lottery: making all tickets winners, arXiv:1911.11134 (Erdos-Renyi-Kernel).
    Frankle and Carbin, The lottery ticket hypothesis, arXiv:1803.03635 (global ranking).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from tfopt.errors import InputError, ModelError
from tfopt.layers import Kernel, matching

Allocation = Literal["uniform", "global", "erk"]
ALLOCATIONS = ("uniform", "global", "erk")


def allocate(
    kernels: Sequence[Kernel], sparsity: float, allocation: str = "uniform", rules: Mapping[str, float] | None = None
) -> list[float | None]:
    """The sparsity of each kernel at the end of a schedule, 0-1; None for those that share one threshold.

    Args:
        kernels: What is pruned.
        sparsity: Of all kernels without a rule together, 0-1.
        allocation: `uniform`, `global` or `erk`.
        rules: Sparsities by layer pattern; of several that match a layer the last one counts.

    Raises:
        InputError: A rule's sparsity is none, or erk cannot leave so many weights.
        ModelError: A rule's pattern matches no layer that is pruned.
    """
    ruled = _ruled(kernels, rules or {})
    rest = [index for index, value in enumerate(ruled) if value is None]
    if allocation == "global" or not rest:
        return ruled
    shares = [sparsity] * len(rest)
    if allocation == "erk":
        shares = erdos_renyi_kernel([tuple(kernels[index].variable.shape) for index in rest], sparsity)
    for index, share in zip(rest, shares, strict=True):
        ruled[index] = share
    return ruled


def _ruled(kernels: Sequence[Kernel], rules: Mapping[str, float]) -> list[float | None]:
    found: list[float | None] = [None] * len(kernels)
    places = [kernel.place for kernel in kernels]
    for number, (pattern, sparsity) in enumerate(rules.items()):
        if not 0 <= sparsity < 1:
            raise InputError(
                f"a rule's sparsity is at least 0 and below 1. Received: {pattern!r}: {sparsity}.", ("rules", number)
            )
        try:
            chosen = matching(places, pattern, "rules")
        except ModelError as error:
            error.field = ("rules", number, "layers")
            raise
        for index, place in enumerate(places):
            if place in chosen:
                found[index] = float(sparsity)
    return found


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

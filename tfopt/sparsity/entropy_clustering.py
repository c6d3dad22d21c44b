"""Clustering that counts coded bits: each weight takes the value at which error and code length together are least.

With an importance `h` of each weight, values `c` and code lengths `b`, a weight `w` takes the value of least
`h * (w - c) ** 2 + price * b`; zero is one of the values, whose code is the longer gap it leaves. Code lengths follow
from the choice and the choice from them, in turns, as in Lloyd's method. The price is the one at which all kernels
together take the bytes asked for, so that a bit buys the same everywhere.

References:
    Chou, Lookabaugh and Gray, Entropy-constrained vector quantization, IEEE Trans. ASSP 37 (1989).
    Choi et al., Towards the limit of network quantization, arXiv:1612.01543 (importance of weights, section 3; Adam's
    second moments in its place, section 3.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tfopt.sparsity.clustering import Codebook
from tfopt.sparsity.coded_size import GapCode, deflated_bytes, file_order, value_bits

TURNS = 4
# The price of a bit is found between these powers of two, times the mean of importance * weight ** 2; the lowest stands
# for bits that cost nothing.
LEAST, MOST = -14.0, 10.0
TRIES = 16
# How far from the price that it begins with the search goes at first, in powers of two, and what a step is of the last.
FIRST_STEP, GROWTH = 0.25, 4
# How much of the bytes asked for may be left unused.
SLACK = 0.005


@dataclass(frozen=True)
class CodedKernel:
    """The weights of a kernel that need not be zero, in the order of the file.

    Args:
        positions: Where they are in the flat kernel, `(n,)`, rising.
        size: The number of weights of the kernel, zeros included.
        weights: What they would be without a codebook, `(n,)`.
        importance: What a squared error costs at each, `(n,)`, not negative.
        values: The shared values, `(k,)`.
        indices: Which value each has, `(n,)`; -1 for zero.
    """

    positions: np.ndarray
    size: int
    weights: np.ndarray
    importance: np.ndarray
    values: np.ndarray
    indices: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        """The whole kernel, flat, as the numbers of its values from 1; 0 for zero."""
        flat = np.zeros(self.size, np.int64)
        flat[self.positions] = self.indices + 1
        return flat

    def bits(self) -> tuple[np.ndarray, np.ndarray]:
        """Bits of each value, `(k,)`, and what the gaps of each weight add, `(n,)`, by the present choice."""
        used = self.indices >= 0
        gaps = GapCode(self.positions[used], self.size).bits(self.positions)
        return value_bits(self.indices[used], self.values.size), gaps


def coded_kernel(weights: np.ndarray, book: Codebook) -> CodedKernel:
    """A kernel with a codebook, every weight as important as any other."""
    flat, found = file_order(weights), file_order(book.weights)
    positions = np.flatnonzero(found)
    values = book.values[book.values != 0]
    indices = np.searchsorted(values, found[positions])
    return CodedKernel(positions, flat.size, flat[positions], np.ones(positions.size), values, indices)


def choose_values(kernel: CodedKernel, price: float, turns: int = TURNS) -> CodedKernel:
    """Gives each weight the value, or the zero, of least error and bits, and each value the mean of its weights.

    Args:
        kernel: The kernel with the values to begin with.
        price: What a bit costs, in units of `importance * error ** 2`.
        turns: How often at most choice and code lengths follow from each other.
    """
    for _ in range(turns):
        chosen = _least(kernel, price)
        same = np.array_equal(chosen, kernel.indices)
        kernel = replace(kernel, indices=chosen)
        kernel = replace(kernel, values=_means(kernel))
        if same:
            break
    return kernel


def _least(kernel: CodedKernel, price: float) -> np.ndarray:
    """The value of least error and bits of each weight, `(n,)`; -1 where zero is as good.

    One value at a time: a matrix of weights and values would take the memory of as many kernels as there are values.
    """
    codes, gaps = kernel.bits()
    chosen, least = np.full(kernel.weights.size, -1), kernel.importance * kernel.weights**2
    for index, (value, code) in enumerate(zip(kernel.values, codes, strict=True)):
        error = kernel.importance * (kernel.weights - value) ** 2 + price * (code + gaps)
        better = error < least
        chosen[better], least[better] = index, error[better]
    return chosen


@dataclass(frozen=True)
class Fit:
    """Kernels with the values that were chosen for some bytes.

    Args:
        kernels: The kernels.
        exponent: Which power of two of the mean of importance * weight ** 2 is the price of a bit; `LEAST` for none.
    """

    kernels: list[CodedKernel]
    exponent: float


def fit_bytes(kernels: Sequence[CodedKernel], wanted: int, near: float = LEAST) -> Fit:
    """Chooses the values of several kernels at the least price of a bit at which deflate makes at most so many bytes.

    Args:
        kernels: The kernels.
        wanted: The bytes of all together; where no price reaches them, the smallest that was found.
        near: The exponent of the price to begin with, from `LEAST` to `MOST`; the nearer, the fewer prices are tried.
    """
    count = sum(kernel.weights.size for kernel in kernels)
    if not count:
        return Fit(list(kernels), LEAST)  # zeros alone, of which nothing can be chosen
    scale = sum(float((k.importance * k.weights**2).sum()) for k in kernels) / count
    low, best, tried = None, None, near
    step = MOST - LEAST if near == LEAST else FIRST_STEP
    for _ in range(TRIES):
        price = 0.0 if tried == LEAST else scale * 2.0**tried
        found = Fit([choose_values(kernel, price) for kernel in kernels], tried)
        taken = _deflated(found.kernels)
        if taken <= wanted:
            best = found
            if tried == LEAST or taken >= (1 - SLACK) * wanted:
                break
        else:
            low = tried
            if tried == MOST:
                break
        if best is None:
            tried = min(tried + step, MOST)
        elif low is None:
            tried = max(tried - step, LEAST)
        else:
            tried = (low + best.exponent) / 2
        step *= GROWTH
    return found if best is None else best


def _deflated(kernels: Sequence[CodedKernel]) -> int:
    return deflated_bytes(kernel.numbers for kernel in kernels)


def _means(kernel: CodedKernel) -> np.ndarray:
    """Each value as the mean of its weights, by importance; one without weights stays as it is."""
    used = kernel.indices >= 0
    clusters, importance = kernel.indices[used], kernel.importance[used]
    weight = np.bincount(clusters, importance, kernel.values.size)
    total = np.bincount(clusters, importance * kernel.weights[used], kernel.values.size)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), kernel.values)

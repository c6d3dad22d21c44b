"""The bytes that an Ethos-U's weight stream takes for a kernel, estimated from its integers.

Vela codes a kernel as a stream of symbols in Golomb-Rice codes, whose divisor it chooses, or in as many bits each. A
symbol is a weight's place in a palette of at most 32 values, the most frequent first, or its magnitude and sign, from
the smallest on that occurs. The zeros are symbols as others are, or runs between the rest with a code of their own,
whichever is less. The streams of convolutions are padded to the blocks of an accelerator, which is left out here.

References:
    Arm, Vela: "The weights are compressed losslessly", gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela.
    Rice and Plaunt, Adaptive variable-length coding for efficient compression of spacecraft television data, IEEE
    Transactions on Communication Technology 19(6), 1971 (Golomb-Rice codes).
"""

from __future__ import annotations

import numpy as np

PALETTE = 32
# Largest first symbol of magnitude and sign: five bits hold it.
LARGEST_OFFSET = 31
# Divisors are powers of two of these exponents, for symbols and for runs of zeros.
SYMBOL_SHIFTS, RUN_SHIFTS = range(6), range(4)
# Bytes of a stream's header and end, and what its length is a multiple of.
OVERHEAD, ALIGNMENT = 24, 16


def encoded_bytes(codes: np.ndarray) -> float:
    """The estimated size of a kernel in the weight stream, without biases and scales.

    Args:
        codes: The kernel's integers in the order of a file, of any shape, -128 to 127.

    Returns:
        Bytes, a multiple of 16. Of kernels of some thousand weights and more it is within a tenth of what Vela's codec
        makes.
    """
    weights = np.asarray(codes).ravel().astype(np.int64)
    if not weights.size:
        return 0.0
    others = weights[weights != 0]
    ends = np.concatenate([[-1], np.flatnonzero(weights), [weights.size]])
    runs = np.diff(ends) - 1
    bits = min(_symbols(weights), _symbols(others) + _rice(runs, RUN_SHIFTS))
    return float(-(-(bits / 8 + OVERHEAD) // ALIGNMENT) * ALIGNMENT)


def _symbols(weights: np.ndarray) -> float:
    """The fewest bits for weights as symbols."""
    if not weights.size:
        return 0.0
    values, places, counts = np.unique(weights, return_inverse=True, return_counts=True)
    signed = np.where(weights < 0, -2 * weights - 1, 2 * weights)
    found = [_rice(signed - min(int(signed.min()), LARGEST_OFFSET), SYMBOL_SHIFTS), 8.0 * weights.size]
    if values.size <= PALETTE:
        rank = np.empty(values.size, np.int64)
        rank[np.argsort(-counts, kind="stable")] = np.arange(values.size)
        found += [_rice(rank[places], SYMBOL_SHIFTS), float(weights.size * max(int(values.size - 1).bit_length(), 1))]
    return min(found)


def _rice(symbols: np.ndarray, shifts: range) -> float:
    """The bits of symbols in the Golomb-Rice code of the best of some divisors: a quotient in unary, and a rest."""
    return float(min((symbols >> shift).sum() + symbols.size * (1 + shift) for shift in shifts))

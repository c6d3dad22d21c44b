"""`huffman`: short codes for frequent values, long ones for rare values."""

from __future__ import annotations

import numpy as np

from tfopt.recipe.decode import Coding
from tfopt.targets.decoding.kernel import Encoded, Kernel, header, packed_bits

KIND = 1
LONGEST = 15
# The decoder looks up the first bits of a code in a table of entries of 16 bits. The end of a code is marked, with its
# bits in this table and its value; any other entry has the bits to look up next, less one, and how far ahead of it
# their table is.
END, BITS_AT, FARTHEST = 0x8000, 11, 0x7FF
# The decoder reads whole words of 32 bits, and one past the last code.
WORD = 4


def code_lengths(counts: np.ndarray, longest: int) -> np.ndarray:
    """Lengths of an optimal prefix code of at most so many bits, `(values,)`, by package-merge.

    Args:
        counts: Occurrences of each value, `(values,)`, of 2 values or more.
        longest: Most bits of a code; 2**longest is no less than the number of values.

    References:
        Larmore and Hirschberg, A fast algorithm for optimal length-limited Huffman codes, J. ACM 37(3), 1990.
    """
    order = np.argsort(counts, kind="stable")
    weights = costs = counts[order].astype(np.int64)
    levels = [np.ones(len(weights), bool)]  # which of the items in ascending order are values, and not packages
    for _ in range(longest - 1):
        pairs = len(costs) // 2 * 2
        items = np.concatenate([weights, costs[:pairs:2] + costs[1:pairs:2]])
        ascending = np.argsort(items, kind="stable")
        costs = items[ascending]
        levels.append(ascending < len(weights))
    lengths, taken = np.zeros(len(counts), np.int64), 2 * len(counts) - 2
    for level in reversed(levels):
        values = int(level[:taken].sum())
        lengths[order[:values]] += 1
        taken = 2 * (taken - values)
    return lengths


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """The codes of given lengths, `(values,)`: ascending with the length, and with the value among equal ones."""
    codes, code, before = np.zeros(len(lengths), np.int64), 0, 0
    for value in np.argsort(lengths, kind="stable"):
        code <<= int(lengths[value]) - before
        before = int(lengths[value])
        codes[value] = code
        code += 1
    return codes


def decoding_table(values: np.ndarray, lengths: np.ndarray, codes: np.ndarray, first: int) -> np.ndarray | None:
    """The decoder's table: for the first bits of a code, and behind it one for each beginning of longer codes.

    Args:
        values: The values, `(values,)` int8.
        lengths: Bits of their codes, `(values,)`.
        codes: Their codes, `(values,)`.
        first: Bits that are looked up first.

    Returns:
        The entries, `(entries,)` uint16; None where some table is too far away.
    """
    ends = END | values.astype(np.int64) & 0xFF
    table = np.zeros(2**first, np.int64)
    for end, length, code in zip(ends, lengths, codes, strict=True):
        if length <= first:
            table[code << first - length : code + 1 << first - length] = end | length << BITS_AT
    longer = lengths > first
    beginnings = np.where(longer, codes >> np.maximum(lengths - first, 0), -1)
    for beginning in np.unique(beginnings[longer]):
        own = np.flatnonzero(beginnings == beginning)
        bits = int(lengths[own].max()) - first
        ahead = len(table) - int(beginning)
        if ahead > FARTHEST:
            return None
        table[beginning] = bits - 1 << BITS_AT | ahead
        more = np.zeros(2**bits, np.int64)
        for value in own:
            rest = int(lengths[value]) - first
            place = int(codes[value]) & (1 << rest) - 1
            more[place << bits - rest : place + 1 << bits - rest] = ends[value] | rest << BITS_AT
        table = np.concatenate([table, more])
    return table.astype("<u2")


def encode(kernel: Kernel) -> Encoded | None:
    """Encodes a kernel with the code and the tables of the fewest bytes; None for floats, and for a single value.

    References:
        Huffman, A method for the construction of minimum-redundancy codes, Proc. IRE 40(9), 1952; `DecodeStateHuffman`
        in `tensorflow/lite/micro/kernels/decode_state_huffman.cc` of tflite-micro.
    """
    if kernel.values.dtype != np.int8:
        return None
    values, places, counts = np.unique(kernel.values.ravel(), return_inverse=True, return_counts=True)
    if len(values) < 2:
        return None
    best: tuple[int, int, np.ndarray, np.ndarray, np.ndarray] | None = None
    for longest in range((len(values) - 1).bit_length(), LONGEST + 1):
        lengths = code_lengths(counts, longest)
        codes, data_bytes = canonical_codes(lengths), -(-int(lengths @ counts) // 8)
        for first in range(int(lengths.max()), 0, -1):  # one table first, which is the fastest
            table = decoding_table(values, lengths, codes, first)
            if table is not None and (best is None or table.nbytes + data_bytes < best[0]):
                best = table.nbytes + data_bytes, first, lengths, codes, table
        if lengths.max() < longest:  # longer codes bring nothing more
            break
    if best is None:
        return None
    _, first, lengths, codes, table = best
    data = packed_bits(codes[places.ravel()], lengths[places.ravel()])
    return Encoded(
        coding="huffman",
        about=f"Huffman codes of {int(lengths.min())} to {int(lengths.max())} bits",
        data=data + b"\0" * (-len(data) % WORD + WORD),
        tables=header(KIND, 1, first - 1 << 4) + table.tobytes(),
    )


HUFFMAN = Coding(
    "huffman",
    "short codes for frequent values; the slowest to decode",
    encode,
    since="pull request 3188 of tflite-micro, autumn of 2025; the op is older",
    rank=30,
)

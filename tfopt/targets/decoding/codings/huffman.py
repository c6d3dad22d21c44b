"""`huffman`: short codes for frequent values, long ones for rare values."""

from __future__ import annotations

import numpy as np

from tfopt.recipe.decode import Coding
from tfopt.targets.decoding.kernel import Encoded, Kernel, header, packed_bits

KIND = 1
# The decoder finds a code by its first bits in a table of 2**bits entries of 16 bits: of its length in 4 bits and of
# its value in 8, marked as the end of a code.
MOST_BITS = 11
END, LENGTH_AT = 0x8000, 11
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
    weights = counts.astype(np.int64)
    members = np.eye(len(counts), dtype=np.int64)  # a row for each package: how often each value is in it
    packages = np.zeros(0, np.int64), np.zeros((0, len(counts)), np.int64)
    for _ in range(longest):
        order = np.argsort(np.concatenate([weights, packages[0]]), kind="stable")
        costs = np.concatenate([weights, packages[0]])[order]
        rows = np.concatenate([members, packages[1]])[order]
        pairs = len(order) // 2 * 2
        packages = costs[:pairs:2] + costs[1:pairs:2], rows[:pairs:2] + rows[1:pairs:2]
    return packages[1][: len(counts) - 1].sum(0)


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """The codes of given lengths, `(values,)`: ascending with the length, and with the value among equal ones."""
    codes, code, before = np.zeros(len(lengths), np.int64), 0, 0
    for value in np.lexsort((np.arange(len(lengths)), lengths)):
        code <<= int(lengths[value]) - before
        before = int(lengths[value])
        codes[value] = code
        code += 1
    return codes


def encode(kernel: Kernel) -> Encoded | None:
    """Encodes a kernel in the table width of the fewest bytes; None for floats, and for a single value.

    References:
        Huffman, A method for the construction of minimum-redundancy codes, Proc. IRE 40(9), 1952; `DecodeStateHuffman`
        in `tensorflow/lite/micro/kernels/decode_state_huffman.cc` of tflite-micro.
    """
    if kernel.values.dtype != np.int8:
        return None
    values, places, counts = np.unique(kernel.values.ravel(), return_inverse=True, return_counts=True)
    if len(values) < 2:
        return None
    options = []
    for bits in range(max((len(values) - 1).bit_length(), 2), MOST_BITS + 1):
        lengths = code_lengths(counts, bits)
        options.append((2 * 2**bits + -(-int(lengths @ counts) // 8), bits, lengths))
        if lengths.max() < bits:  # a wider table brings nothing more
            break
    _, bits, lengths = min(options, key=lambda option: option[:2])
    codes = canonical_codes(lengths)
    table = np.zeros(2**bits, "<u2")
    for value, code, length in zip(values.tolist(), codes.tolist(), lengths.tolist(), strict=True):
        first = code << bits - length
        table[first : first + (1 << bits - length)] = END | length << LENGTH_AT | value & 0xFF
    data = packed_bits(codes[places.ravel()], lengths[places.ravel()])
    return Encoded(
        coding="huffman",
        about=f"Huffman codes of up to {int(lengths.max())} bits",
        data=data + b"\0" * (-len(data) % WORD + WORD),
        tables=header(KIND, 1, bits - 1 << 4) + table.tobytes(),
    )


HUFFMAN = Coding(
    "huffman",
    "short codes for frequent values; the slowest to decode",
    encode,
    since="pull request 3188 of tflite-micro, autumn of 2025; the op is older",
    rank=30,
)

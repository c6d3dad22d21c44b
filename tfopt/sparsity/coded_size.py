"""What a compressor makes of sparse kernels of few values: bytes by deflate, and bits of each weight by entropies.

A row of mostly zeros is coded as the gaps between its weights and the value of each. A weight therefore costs the code
of its value, and the codes of the two gaps beside it less that of the one gap that would be there without it.

References:
    Han et al., Deep compression, arXiv:1510.00149 (gaps between weights).
    Deutsch, DEFLATE compressed data format specification, RFC 1951.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

# Gaps up to this one have a code each, as most gaps are short; longer ones share two codes an octave.
SINGLE_GAPS = 8


def file_order(weights: np.ndarray) -> np.ndarray:
    """A kernel, or an array of its shape, flat and in the order of a `.tflite`: the outputs, its last axis, first."""
    return np.moveaxis(np.asarray(weights), -1, 0).ravel()


def deflated_bytes(kernels: Iterable[np.ndarray]) -> int:
    """The bytes that `gzip -9` makes of kernels one after the other, without the header of a file.

    Args:
        kernels: Numbers of values, flat and in the order of the file: integers of 0-255.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return sum(len(compressor.compress(flat.astype(np.uint8).tobytes())) for flat in kernels) + len(compressor.flush())


def value_bits(indices: np.ndarray, count: int) -> np.ndarray:
    """Bits of the code of each value, `(count,)`: the information in how often it occurs.

    Args:
        indices: The value of each weight that is not zero, 0 to `count - 1`.
        count: The number of values.
    """
    return _information(np.bincount(indices, minlength=count))


class GapCode:
    """The bits that gaps take, by the entropy of those of one kernel.

    Args:
        positions: Where the weights are that are not zero, `(n,)`, rising.
        size: The number of weights of the kernel, zeros included.
    """

    def __init__(self, positions: np.ndarray, size: int):
        self._edges = np.concatenate([[-1], positions, [size]])
        self._gaps = np.diff(self._edges) - 1
        number, _ = _gap_codes(self._gaps)
        last, _ = _gap_codes(np.asarray([size]))
        self._code_bits = _information(np.bincount(number, minlength=last[0] + 1))

    def gap_bits(self, gaps: np.ndarray) -> np.ndarray:
        """The bits of gaps of these lengths, up to the size of the kernel."""
        number, extra = _gap_codes(gaps)
        return self._code_bits[number] + extra

    def total(self) -> float:
        """Bits of all the gaps."""
        return float(self.gap_bits(self._gaps).sum())

    def bits(self, positions: np.ndarray) -> np.ndarray:
        """The bits that a weight at each of these positions adds to the gaps, whether there is one now or not."""
        before = self._edges[np.searchsorted(self._edges, positions, "left") - 1]
        after = self._edges[np.searchsorted(self._edges, positions, "right")]
        left, right = positions - before - 1, after - positions - 1
        return self.gap_bits(left) + self.gap_bits(right) - self.gap_bits(left + right + 1)


def _gap_codes(gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the code of each gap, and how many bits beside it say which of its gaps it is."""
    octave = np.floor(np.log2(np.maximum(gaps, 1))).astype(int)
    half = (gaps >> np.maximum(octave - 1, 0)) & 1
    first = int(np.log2(SINGLE_GAPS))
    long = gaps >= SINGLE_GAPS
    number = np.where(long, SINGLE_GAPS + 2 * (octave - first) + half, gaps)
    return number, np.where(long, octave - 1, 0)


def _information(frequencies: np.ndarray) -> np.ndarray:
    """Bits of each symbol; one that does not occur counts as one that occurs once."""
    counted = np.maximum(frequencies, 1)
    return np.log2(counted.sum() / counted)

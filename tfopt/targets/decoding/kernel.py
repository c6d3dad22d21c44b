"""A kernel to encode, what a coding makes of it, and the 16 bytes that every coding's tables begin with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HEADER_BYTES = 16
VERSION = 1


@dataclass(frozen=True)
class Kernel:
    """The constant of an op as it is stored.

    Args:
        values: Values in the tensor's shape, int8 or float32.
        axis: The axis along which the tensor has a scale for each slice; None with one scale, or none at all.
    """

    values: np.ndarray
    axis: int | None = None

    @property
    def patterns(self) -> np.ndarray:
        """The values as integers of their bits, of which two are equal only where the values are in every bit."""
        return self.values.view(np.int32) if self.values.dtype == np.float32 else self.values


@dataclass(frozen=True)
class Encoded:
    """A kernel in a coding: the two constants that TFLM's op `TFLM_DECODE` makes it from.

    Args:
        coding: Name of the coding.
        about: The coding and its width in words, such as `look-up table of 4 bits`.
        data: Bytes of the encoded values.
        tables: Bytes of the header and of the coding's tables.
    """

    coding: str
    about: str
    data: bytes
    tables: bytes

    @property
    def bytes(self) -> int:
        """Bytes of both constants."""
        return len(self.data) + len(self.tables)


def header(kind: int, *parameters: int) -> bytes:
    """The common header of a coding's tables.

    Args:
        kind: TFLM's number of the coding.
        parameters: Bytes of the coding's own, 12 at most.

    References:
        DECODE Common Metadata, in `tensorflow/lite/micro/compression/decode.py` of tflite-micro.
    """
    return bytes((kind, VERSION, 0, 0, *parameters)).ljust(HEADER_BYTES, b"\0")


def packed_bits(codes: np.ndarray, lengths: np.ndarray | int) -> bytes:
    """Codes one after the other, the most significant bit of each first; the last byte is filled with zeros.

    Args:
        codes: Unsigned integers `(codes,)`.
        lengths: Bits of each, `(codes,)`, or of all.
    """
    widest = int(np.max(lengths, initial=0))
    lengths = np.broadcast_to(lengths, codes.shape)[:, None]
    places = np.arange(widest)
    bits = codes[:, None] >> np.maximum(lengths - 1 - places, 0) & 1
    return np.packbits(bits[places < lengths].astype(np.uint8)).tobytes()

"""`look_up`: the distinct values in a table, and for each weight its place there in 1 to 7 bits."""

from __future__ import annotations

import numpy as np

from tfopt.recipe.decode import Coding
from tfopt.targets.decoding.kernel import Encoded, Kernel, header, packed_bits

KIND = 0
# Widths that the format has, and values that a table of its can have.
MOST_BITS, MOST_VALUES = 7, 128
ONE_TABLE = 15


def encode(kernel: Kernel) -> Encoded | None:
    """Encodes a kernel; None where it has too many values.

    Where the kernel has several scales there is a table for each slice, also where all are equal: the decoder goes by
    the scales of the tensor, and would read tables that are not there.

    References:
        `tensorflow/lite/micro/compression/lut.py` of tflite-micro.
    """
    values, axis = kernel.patterns, kernel.axis
    slices = [values] if axis is None else list(np.moveaxis(values, axis, 0))
    tables = [np.unique(each) for each in slices]
    stride = max(map(len, tables))
    bits = max((stride - 1).bit_length(), 1)
    if stride > MOST_VALUES:
        return None
    places = np.stack([np.searchsorted(table, each) for table, each in zip(tables, slices, strict=True)])
    places = places[0] if axis is None else np.moveaxis(places, 0, axis)
    table = b"".join(np.pad(each, (0, stride - len(each))).tobytes() for each in tables)
    which = ONE_TABLE if axis is None else axis
    return Encoded(
        coding="look_up",
        about=f"{'a look-up table' if axis is None else f'{len(tables)} look-up tables'}, {bits} bits a weight",
        data=packed_bits(places.ravel(), bits),
        tables=header(KIND, 1, which << 4 | bits, stride) + table,
    )


LOOK_UP = Coding(
    "look_up",
    "a table of the distinct values, and 1 to 7 bits for each weight",
    encode,
    since="pull request 3132 of tflite-micro, October 2025",
    rank=10,
)

"""A decoder of the format, value by value, as tflite-micro's design of DECODE describes it."""

import numpy as np


class _Bits:
    """Bits of bytes, the most significant one first."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        value = 0
        for _ in range(count):
            value = value << 1 | self.data[self.at // 8] >> 7 - self.at % 8 & 1
            self.at += 1
        return value


def decode(encoded, shape, dtype, axis=None):
    """The values of an encoded kernel, in its shape."""
    kind, version = encoded.tables[:2]
    assert (version, encoded.tables[2:4], encoded.tables[4]) == (1, b"\0\0", 1)
    values = (_look_up, _huffman, _zero_mask)[kind](encoded.data, encoded.tables, shape, np.dtype(dtype), axis)
    return np.array(values, dtype).reshape(shape)


def _look_up(data, tables, shape, dtype, axis):
    bits, stride = tables[5] & 7, tables[6]
    assert tables[5] >> 4 == (15 if axis is None else axis)
    table, places = np.frombuffer(tables, dtype, offset=16), _Bits(data)
    channels = np.indices(shape)[axis].ravel() if axis is not None else np.zeros(np.prod(shape), int)
    return [table[channel * stride + places.take(bits)] for channel in channels]


def _zero_mask(data, tables, shape, dtype, axis):
    mask, kept = _Bits(data), iter(np.frombuffer(tables, dtype, offset=16))
    return [next(kept) if mask.take(1) else dtype.type(0) for _ in range(np.prod(shape))]


def _huffman(data, tables, shape, dtype, axis):
    table, codes, found = np.frombuffer(tables, "<u2", offset=16), _Bits(data), []
    for _ in range(np.prod(shape)):
        bits, base = (tables[5] >> 4) + 1, 0
        while True:
            looked = codes.take(bits)
            entry = int(table[base + looked])
            if entry & 0x8000:
                break
            base, bits = base + looked + (entry & 0x7FF), (entry >> 11 & 15) + 1
        codes.at -= bits - (entry >> 11 & 15)
        found.append(np.uint8(entry & 0xFF).astype(np.int8))
    assert len(data) * 8 - codes.at >= 32  # a word past the last code
    assert len(data) % 4 == 0
    return found

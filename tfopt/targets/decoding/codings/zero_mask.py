"""`zero_mask`: one bit for each weight, and the weights that are not 0."""

from __future__ import annotations

import numpy as np

from tfopt.recipe.decode import Coding
from tfopt.targets.decoding.kernel import Encoded, Kernel, header, packed_bits

KIND = 2


def encode(kernel: Kernel) -> Encoded | None:
    """Encodes a kernel.

    References:
        `DecodeStatePrune` in `tensorflow/lite/micro/kernels/decode_state_prune.cc` of tflite-micro.
    """
    kept = kernel.patterns.ravel() != 0
    return Encoded(
        coding="zero_mask",
        about=f"a bit for each weight and {int(kept.sum()):,} values that are not 0",
        data=packed_bits(kept.astype(np.int64), 1),
        tables=header(KIND, 1) + kernel.values.ravel()[kept].tobytes(),
    )


ZERO_MASK = Coding(
    "zero_mask",
    "a bit for each weight, and the weights that are not 0",
    encode,
    since="pull request 3162 of tflite-micro, autumn of 2025",
    rank=20,
)

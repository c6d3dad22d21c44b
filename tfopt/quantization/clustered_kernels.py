"""Which kernels of a Keras model are clustered."""

from __future__ import annotations

import numpy as np

from tfopt.models.layers import Kernel
from tfopt.tflite.file import is_codebook


def codebook(kernel: Kernel) -> bool:
    """Whether a kernel is clustered: it has few distinct values, but is not all zeros."""
    weights = np.asarray(kernel.variable.value.numpy())
    kept = weights[weights != 0]
    return kept.size > 0 and is_codebook(np.unique(kept).size, kept.size)

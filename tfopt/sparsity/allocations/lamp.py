"""`lamp`: all weights ranked together, each relative to the weights of its kernel that are no smaller.

References:
    Lee et al., Layer-adaptive sparsity for the magnitude-based pruning, arXiv:2010.07611.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfopt.sparsity.allocations import Allocation


def lamp_scores(ordered: np.ndarray) -> np.ndarray:
    """LAMP scores of a kernel: each `s ** 2` over the sum of squares of itself and all larger scores.

    Args:
        ordered: Scores of the kernel, `(n,)`, positive and rising.
    """
    squares = ordered.astype(np.float64) ** 2
    return squares / np.cumsum(squares[::-1])[::-1]


def lamp_tensors(ordered: Any) -> Any:
    """`lamp_scores` in TensorFlow ops; a score of 0 has a LAMP score of 0."""
    import tensorflow as tf

    squares = tf.square(tf.cast(ordered, tf.float64))
    return tf.math.divide_no_nan(squares, tf.cumsum(squares, reverse=True))


LAMP = Allocation(
    "lamp",
    "All weights are ranked together, each measured by the larger ones of its kernel, which spares small kernels.",
    together=True,
    rank_scores=lamp_scores,
    rank_tensors=lamp_tensors,
    rank=3,
)

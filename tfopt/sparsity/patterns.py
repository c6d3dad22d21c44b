"""Pruning patterns: single weights, blocks of a matrix, or n of every m weights in a row.

A pattern gives every unit it prunes a score, and makes a mask of a kernel from the units that reach a threshold. All of
it is TensorFlow ops, for use inside and outside of a compiled step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfopt.errors import InputError
from tfopt.sparsity.tfmot import tfmot

Pooling = Literal["average", "max"]


@dataclass(frozen=True)
class Unstructured:
    """Every weight on its own, scored by its magnitude: TF-MOT's pattern with a block size of 1 x 1."""

    def scores(self, weights: Any) -> Any:
        """Magnitudes, in the kernel's shape."""
        return tf.abs(weights)

    def too_small(self, shape: Sequence[int]) -> str:
        """Empty: no kernel is too small for single weights."""
        return ""

    def mask(self, weights: Any, threshold: Any) -> Any:
        """A boolean mask of the kernel's shape: True where the score reaches the threshold."""
        return tf.abs(weights) >= threshold


@dataclass(frozen=True)
class Blocks:
    """Blocks of a matrix, scored by the mean or the largest magnitude in them: TF-MOT's `block_size`.

    TF-MOT takes matrices alone. A kernel of another rank is looked at as one here, its last axis against all the
    others: `(height, width, input, output)` as `(height * width * input, output)`. Blocks at the lower and right edge
    may be cut; their mean is over what is there.

    Args:
        height: Rows of a block, along the inputs of a dense kernel.
        width: Columns of a block, along its outputs.
        pooling: `average` or `max`.
    """

    height: int
    width: int
    pooling: Pooling = "average"

    def scores(self, weights: Any) -> Any:
        """One score to a block, `(ceil(rows / height), ceil(columns / width))`."""
        magnitudes = tf.abs(_as_matrix(weights))
        rows, columns = magnitudes.shape
        pooled = tfmot().factorized_pool(
            magnitudes,
            window_shape=[self.height, self.width],
            pooling_type="AVG" if self.pooling == "average" else "MAX",
            strides=[self.height, self.width],
            padding="SAME",
        )
        return tf.reshape(pooled, [-(-rows // self.height), -(-columns // self.width)])

    def too_small(self, shape: Sequence[int]) -> str:
        """Why a kernel of this shape cannot be pruned; empty if it can."""
        one = int(np.prod(shape[:-1])) <= self.height and shape[-1] <= self.width
        return "it is no larger than one block" if one else ""

    def mask(self, weights: Any, threshold: Any) -> Any:
        """A boolean mask of the kernel's shape: True in the blocks whose score reaches the threshold."""
        rows, columns = _as_matrix(weights).shape
        keep = tf.repeat(tf.repeat(self.scores(weights) >= threshold, self.height, axis=0), self.width, axis=1)
        return tf.reshape(keep[:rows, :columns], weights.shape)


@dataclass(frozen=True)
class NOfM:
    """The largest `keep` of every `of` weights in a row along the kernel's inputs: TF-MOT's `sparsity_m_by_n`.

    The inputs are the second to last axis, which is the last one in a `.tflite`; of a transposed convolution that axis
    has the outputs, of an embedding the entries, of an attention's projection the heads. What is left over at the end
    of a row is a group of its own, filled up with zeros.

    Args:
        keep: Weights of a group that stay.
        of: Weights of a group.

    References:
        Mishra et al., Accelerating sparse deep neural networks, arXiv:2104.08378.
    """

    keep: int
    of: int

    @property
    def sparsity(self) -> float:
        """The share of zeros in whole groups, 0-1."""
        return 1 - self.keep / self.of

    def too_small(self, shape: Sequence[int]) -> str:
        """Why a kernel of this shape cannot be pruned; empty if it can."""
        return f"it has no more than {self.keep} weights in a row" if shape[-2] <= self.keep else ""

    def mask(self, weights: Any, threshold: Any = None) -> Any:
        """A boolean mask of the kernel's shape."""
        rank = len(weights.shape)
        order = [axis for axis in range(rank) if axis != rank - 2] + [rank - 2]
        rows = tf.transpose(weights, order)
        flat = tf.reshape(rows, [-1, rows.shape[-1]])
        keep = tfmot().generate_m_by_n_mask(flat, (self.of - self.keep, self.of))
        return tf.transpose(tf.reshape(keep, rows.shape), np.argsort(order)) > 0


Pattern = Unstructured | Blocks | NOfM


def build_pattern(
    block: tuple[int, int] | None = None, pooling: Pooling = "average", keep: tuple[int, int] | None = None
) -> Pattern:
    """The pattern that the settings ask for.

    Args:
        block: Rows and columns of a block; None for single weights.
        pooling: Score of a block: `average` or `max` of its magnitudes.
        keep: `(n, m)` keeps n of every m weights in a row; None for no such constraint.

    Raises:
        InputError: Numbers that make no pattern, or two patterns at once.
    """
    if block is not None and keep is not None:
        raise InputError(f"block and keep are two patterns: leave one out. Received: {block=}, {keep=}.")
    if keep is not None:
        if not _whole(keep) or not 0 < keep[0] < keep[1]:
            raise InputError(f"keep is [n, m], n of every m weights in a row, 0 < n < m. Received: keep={keep!r}.")
        return NOfM(*keep)
    if pooling not in ("average", "max"):
        raise InputError(f"block_pooling is 'average' or 'max'. Received: block_pooling={pooling!r}.")
    if block is None:
        return Unstructured()
    if not _whole(block) or min(block) < 1:
        raise InputError(f"block is [rows, columns] of a block, each at least 1. Received: block={block!r}.")
    return Blocks(*block, pooling)


def _whole(pair: Any) -> bool:
    """Whether a value is a pair of whole numbers."""
    return isinstance(pair, tuple | list) and len(pair) == 2 and all(type(number) is int for number in pair)


def _as_matrix(weights: Any) -> Any:
    return weights if len(weights.shape) == 2 else tf.reshape(weights, [-1, weights.shape[-1]])

"""The same weights in, the same masks out: each pattern against TF-MOT's code, and NumPy where TF-MOT stops."""

import numpy as np
import pytest
import tensorflow as tf

from tfopt.errors import InputError
from tfopt.sparsity import constant_sparsity
from tfopt.sparsity.magnitude import magnitude_threshold
from tfopt.sparsity.patterns import Blocks, NOfM, Unstructured, build_pattern
from tfopt.sparsity.tfmot import tfmot

SHAPES = [(64, 48), (63, 49), (7, 5), (1, 9)]


def weights_of(shape, dtype="float32", zeros=0.3):
    generator = np.random.default_rng([3, *shape])
    array = generator.normal(size=shape).astype(np.float32)
    array[generator.random(shape) < zeros] = 0  # as the second update of a training finds them
    return tf.cast(array, dtype)


def mask_of(pattern, weights, sparsity):
    if isinstance(pattern, NOfM):
        return pattern.mask(weights).numpy()
    threshold = magnitude_threshold(pattern.scores(weights).numpy(), sparsity)
    return pattern.mask(weights, tf.cast(threshold, weights.dtype)).numpy()


def stock_mask(weights, sparsity, block=(1, 1), pooling="AVG", m_by_n=None):
    """TF-MOT's, from its own conditional update."""
    step = tf.Variable(1, dtype=tf.int64)
    mask = tf.Variable(tf.ones_like(weights))
    triple = (tf.Variable(weights), mask, tf.Variable(tf.zeros([], weights.dtype)))
    schedule = constant_sparsity(sparsity, 1, frequency=1)
    tfmot().Pruning(lambda: step, [triple], schedule, block, pooling, m_by_n).conditional_mask_update()
    return mask.numpy().astype(bool)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("shape", [*SHAPES, (3, 3, 4, 8)])
def test_single_weights_are_those_of_tfmot(shape, sparsity, dtype):
    weights = weights_of(shape, dtype)
    np.testing.assert_array_equal(mask_of(Unstructured(), weights, sparsity), stock_mask(weights, sparsity))


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("block", [(4, 4), (1, 8), (3, 2), (16, 1)])
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
@pytest.mark.parametrize("shape", [*SHAPES[:2], (33, 17)])
def test_blocks_are_those_of_tfmot(shape, sparsity, block, pooling):
    weights = weights_of(shape, zeros=0.1)
    stock = stock_mask(weights, sparsity, list(block), {"average": "AVG", "max": "MAX"}[pooling])
    found = mask_of(Blocks(*block, pooling), weights, sparsity)
    np.testing.assert_array_equal(found, stock)
    assert not found.all()


@pytest.mark.parametrize(("keep", "of"), [(2, 4), (1, 4), (3, 4), (4, 8), (1, 2)])
@pytest.mark.parametrize("shape", [*SHAPES[:2], (3, 3, 8, 6), (5, 5, 7, 4), (1, 1, 16, 3)])
def test_n_of_m_is_that_of_tfmot(shape, keep, of):
    weights = weights_of(shape)
    found = mask_of(NOfM(keep, of), weights, None)
    np.testing.assert_array_equal(found, stock_mask(weights, 0.5, m_by_n=(of - keep, of)))
    assert not found.all()


def test_ties_go_to_the_first_of_a_group_as_in_tfmot():
    weights = tf.ones((8, 3))
    found = mask_of(NOfM(2, 4), weights, None)
    np.testing.assert_array_equal(found, stock_mask(weights, 0.5, m_by_n=(2, 4)))
    assert found.sum() == 12


@pytest.mark.parametrize("shape", [(16, 5), (3, 8, 4), (3, 3, 8, 6), (2, 3, 3, 12, 2)])
def test_n_of_m_keeps_the_largest_of_every_group_along_the_inputs(shape):
    weights = weights_of(shape, zeros=0).numpy()
    groups = np.moveaxis(weights, -2, -1).reshape(-1, 4)
    kept = np.argsort(-np.abs(groups), axis=1)[:, :2]
    expected = np.zeros(groups.shape, bool)
    np.put_along_axis(expected, kept, True, axis=1)
    rows = np.moveaxis(weights, -2, -1).shape
    np.testing.assert_array_equal(
        mask_of(NOfM(2, 4), tf.constant(weights), None), np.moveaxis(expected.reshape(rows), -1, -2)
    )


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (5, 6, 8)])
def test_blocks_of_a_kernel_of_more_axes_are_those_of_the_matrix_it_makes(shape):
    weights = weights_of(shape)
    matrix = tf.reshape(weights, [-1, shape[-1]])
    found = mask_of(Blocks(2, 4), weights, 0.75)
    np.testing.assert_array_equal(found.reshape(matrix.shape), stock_mask(matrix, 0.75, [2, 4]))


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ({}, Unstructured()),
        ({"block": (1, 4)}, Blocks(1, 4)),
        ({"block": [4, 4], "pooling": "max"}, Blocks(4, 4, "max")),
        ({"keep": (2, 4)}, NOfM(2, 4)),
    ],
)
def test_what_is_asked_becomes_a_pattern(asked, pattern):
    assert build_pattern(**asked) == pattern


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"block": (1, 4), "keep": (2, 4)}, "two patterns"),
        ({"block": (0, 4)}, r"block is \[rows, columns\]"),
        ({"block": 4}, r"block is \[rows, columns\]"),
        ({"block": (4, 4), "pooling": "AVG"}, "'average' or 'max'"),
        ({"keep": (4, 4)}, "0 < n < m"),
        ({"keep": (0, 4)}, "0 < n < m"),
        ({"keep": 0.5}, "0 < n < m"),
        ({"keep": (2.0, 4)}, "0 < n < m"),
    ],
)
def test_numbers_that_make_no_pattern_are_refused(asked, words):
    with pytest.raises(InputError, match=words):
        build_pattern(**asked)

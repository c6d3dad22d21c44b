"""The NumPy selection against TF-MOT's own arithmetic, and against a plain sort."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tfopt.sparsity import constant_sparsity
from tfopt.sparsity.magnitude import kept_count, magnitude_mask, magnitude_threshold, sparsity_of
from tfopt.sparsity.tfmot import tfmot


def tfmot_mask(weights, sparsity):
    step = tf.Variable(1, dtype=tf.int64)
    pruning = tfmot().Pruning(lambda: step, [], constant_sparsity(sparsity, 1, frequency=1), (1, 1), "AVG")
    return pruning._update_mask(tf.constant(weights))[1].numpy().astype(bool)


def kernels():
    generator = np.random.default_rng(5)
    dense = generator.normal(size=(31, 17)).astype(np.float32)
    rounded = np.round(dense, 1)
    half_zero = np.where(generator.random(dense.shape) < 0.5, 0, dense).astype(np.float32)
    return {
        "dense": dense,
        "convolution": generator.normal(size=(3, 3, 8, 12)).astype(np.float32),
        "many ties": rounded.astype(np.float32),
        "half of it zero": half_zero,
        "all equal": np.full((9, 5), 0.25, np.float32),
        "all zero": np.zeros((6, 6), np.float32),
        "one weight": np.ones((1, 1), np.float32),
        "float64": generator.normal(size=(20, 20)),
        "float16": dense.astype(np.float16),
        "bfloat16": dense.astype(ml_dtypes.bfloat16),
        "tiny values": (dense * 1e-38).astype(np.float32),
    }


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 1 / 3, 0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("name", kernels())
def test_the_mask_is_tfmots_bit_for_bit(name, sparsity):
    weights = kernels()[name]
    np.testing.assert_array_equal(magnitude_mask(weights, sparsity), tfmot_mask(weights, sparsity))


def test_ninety_random_kernels_have_tfmots_masks():
    generator = np.random.default_rng(17)
    for _ in range(90):
        shape = tuple(generator.integers(1, 40, size=2))
        weights = generator.normal(size=shape).astype(np.float32)
        weights[generator.random(shape) < generator.random()] = 0
        sparsity = float(generator.random() * 0.99)
        np.testing.assert_array_equal(magnitude_mask(weights, sparsity), tfmot_mask(weights, sparsity))


def test_the_threshold_is_the_kth_largest_magnitude_of_a_sort():
    weights = np.random.default_rng(1).normal(size=(40, 25)).astype(np.float32)
    ordered = np.sort(np.abs(weights).ravel())[::-1]
    assert magnitude_threshold(weights, 0.9) == ordered[100 - 1]
    assert sparsity_of(weights * magnitude_mask(weights, 0.9)) == pytest.approx(0.9)


@pytest.mark.parametrize(("size", "sparsity", "count"), [(10, 0.75, 2), (10, 0.65, 4), (10, 0.0, 10), (3, 0.99, 1)])
def test_the_number_kept_is_rounded_half_to_even_and_never_none(size, sparsity, count):
    # 10 * 0.25 = 2.5 rounds to 2; 10 * 0.35 = 3.5 rounds to 4
    assert kept_count(size, sparsity) == count


def test_sparsity_counts_exact_zeros():
    assert sparsity_of([0, 1, 0, 1e-30]) == 0.5
    assert sparsity_of([]) == 0.0

"""Weight sharing: the number of values, the zeros, and the error against other choices of values."""

import numpy as np
import pytest

from tfopt.errors import InputError
from tfopt.sparsity.clustering import cluster


def kernel(sparsity=0.0, shape=(60, 40)):
    generator = np.random.default_rng(1)
    array = generator.normal(size=shape).astype(np.float32)
    array[generator.random(shape) < sparsity] = 0
    return array


@pytest.mark.parametrize("clusters", [2, 3, 8, 16, 64])
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_a_kernel_has_as_many_values_as_asked_for_and_its_own_zeros(clusters, sparsity):
    array = kernel(sparsity)
    book = cluster(array, clusters)
    assert np.unique(book.weights).size == clusters
    np.testing.assert_array_equal(book.weights == 0, array == 0)
    assert book.weights.dtype == array.dtype
    assert book.weights.shape == array.shape


def test_values_are_rising_and_each_weight_has_the_nearest():
    array = kernel(0.5)
    book = cluster(array, 9)
    assert (np.diff(book.values) > 0).all()
    nonzero = array != 0
    values = book.values[book.values != 0]
    nearest = values[np.abs(array[nonzero][:, None] - values).argmin(1)]
    np.testing.assert_array_equal(book.weights[nonzero], nearest)


def test_values_are_the_means_of_their_weights_as_in_the_minimum_of_k_means():
    array = kernel()
    book = cluster(array, 8)
    for index, value in enumerate(book.values):
        assert value == pytest.approx(array[book.indices == index].mean(), abs=2e-3)


def test_the_error_is_below_that_of_evenly_spaced_values_and_falls_with_their_number():
    array = kernel(0.3)
    even = np.linspace(array.min(), array.max(), 8)
    spaced = even[np.abs(array[..., None] - even).argmin(-1)]
    errors = [((cluster(array, n).weights - array) ** 2).mean() for n in (4, 8, 16)]
    assert errors[1] < ((spaced - array) ** 2).mean()
    assert errors == sorted(errors, reverse=True)


def test_few_values_stay_as_they_are():
    array = np.array([[0.0, 1.5], [-2.0, 1.5]], np.float32)
    np.testing.assert_array_equal(cluster(array, 4).weights, array)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_weight_near_zero_does_not_become_zero(sign):
    array = sign * np.array([0.0, 1e-6, 5.0, 5.1, -1e-6], np.float32)
    np.testing.assert_array_equal(cluster(array, 2).weights == 0, array == 0)
    np.testing.assert_array_equal(cluster(array, 3).weights == 0, array == 0)


def test_the_same_weights_give_the_same_values():
    array = kernel(0.2, (400, 400))
    np.testing.assert_array_equal(cluster(array, 16).weights, cluster(array, 16).weights)


def test_fewer_than_two_values_are_refused():
    with pytest.raises(InputError, match="at least 2"):
        cluster(kernel(), 1)


def test_weights_as_much_below_zero_as_above_get_a_value_that_is_not_zero():
    array = np.array([-1.0, 0.0, 1.0], np.float32)
    book = cluster(array, 2)
    np.testing.assert_array_equal(book.weights == 0, array == 0)
    assert np.unique(book.weights).size == 2

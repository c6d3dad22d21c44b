"""Bytes and bits of sparse kernels, against gzip and against sums over every gap."""

import gzip
import itertools

import numpy as np
import pytest

from tfopt.sparsity.coded_size import GapCode, deflated_bytes, file_order, value_bits


def sparse(density, size=30_000, seed=3):
    generator = np.random.default_rng(seed)
    return np.where(generator.random(size) < density, generator.integers(1, 8, size), 0)


@pytest.mark.parametrize("density", [0.01, 0.05, 0.3])
def test_the_bytes_are_those_of_gzip_without_its_header_and_checksum(density):
    kernels = [sparse(density), sparse(density, 500, seed=4)]
    content = b"".join(kernel.astype(np.int8).tobytes() for kernel in kernels)
    assert deflated_bytes(kernels) == len(gzip.compress(content, 9)) - 18


def test_a_dense_kernel_lies_in_the_file_output_by_output():
    np.testing.assert_array_equal(file_order(np.array([[1, 2], [3, 4], [5, 6]])), [1, 3, 5, 2, 4, 6])


def test_a_convolution_lies_in_the_file_output_by_output():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(file_order(kernel), np.transpose(kernel, (3, 0, 1, 2)).ravel())


def test_a_value_of_half_of_the_weights_takes_a_bit_and_the_others_what_their_share_says():
    np.testing.assert_allclose(value_bits(np.array([0] * 4 + [1] * 2 + [2] * 2), 3), [1, 2, 2])


def test_a_value_without_weights_takes_as_much_as_one_of_a_single_weight():
    np.testing.assert_allclose(value_bits(np.array([0] * 7), 2), np.log2([8 / 7, 8]))


@pytest.mark.parametrize("density", [0.02, 0.2])
def test_a_weight_adds_what_the_gaps_have_more_with_it_than_without(density):
    flat = sparse(density, 400)
    positions = np.flatnonzero(flat)
    code = GapCode(positions, flat.size)

    def total(where):
        edges = [-1, *sorted(where), flat.size]
        return sum(code.gap_bits(np.asarray(after - before - 1)) for before, after in itertools.pairwise(edges))

    assert code.total() == pytest.approx(total(positions))
    every = np.arange(flat.size)
    expected = [total({*positions, one}) - total({*positions} - {one}) for one in every]
    np.testing.assert_allclose(code.bits(every), expected, atol=1e-9)


def test_the_bits_of_gaps_are_their_entropy_where_all_have_their_own_code():
    gaps = np.array([0, 1, 1, 3, 1, 0, 3, 1])
    positions = np.cumsum(gaps[:-1] + 1) - 1
    counts = np.array([2, 4, 2])
    entropy = -(counts * np.log2(counts / 8)).sum()
    with_unused = GapCode(positions, int((gaps + 1).sum()) - 1).total()
    assert entropy < with_unused < entropy + 8 * np.log2(1 + 12 / 8)


def test_a_gap_that_is_twice_as_long_takes_about_a_bit_more_among_evenly_spread_ones():
    code = GapCode(np.flatnonzero(sparse(0.001, 200_000)), 200_000)
    far = code.gap_bits(np.asarray([2**12, 2**13, 2**14]))
    assert (np.diff(far) > 0.5).all()


@pytest.mark.parametrize("density", [0.01, 0.03, 0.1])
def test_deflate_takes_what_the_bits_say_but_for_a_factor_that_changes_little_with_the_density(density):
    flat = sparse(density, 235_200)
    positions = np.flatnonzero(flat)
    bits = GapCode(positions, flat.size).total() + value_bits(flat[positions] - 1, 7)[flat[positions] - 1].sum()
    assert 1.15 < deflated_bytes([flat]) / (bits / 8) < 1.55

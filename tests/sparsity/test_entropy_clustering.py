"""Values chosen by error and code length, against loops over every weight and value, and against k-means."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tfopt.sparsity import entropy_clustering
from tfopt.sparsity.clustering import cluster
from tfopt.sparsity.coded_size import GapCode, deflated_bytes
from tfopt.sparsity.entropy_clustering import choose_values, coded_kernel, fit_bytes


def pruned(sparsity=0.9, shape=(120, 80), seed=1):
    generator = np.random.default_rng(seed)
    weights = generator.standard_t(4, shape)
    return np.where(np.abs(weights) < np.quantile(np.abs(weights), sparsity), 0.0, weights)


def kernel(clusters=7, **settings):
    weights = pruned(**settings)
    return coded_kernel(weights, cluster(weights, clusters))


def error(one):
    chosen = np.append(0.0, one.values)[one.indices + 1]
    return float((one.importance * (one.weights - chosen) ** 2).sum())


def bytes_of(*kernels):
    return deflated_bytes(one.numbers for one in kernels)


def test_a_kernel_begins_with_the_weights_values_and_zeros_of_its_codebook():
    weights = pruned()
    book = cluster(weights, 7)
    one = coded_kernel(weights, book)
    np.testing.assert_array_equal(one.weights, weights.T[weights.T != 0])
    np.testing.assert_array_equal(one.values[one.indices], book.weights.T[weights.T != 0])
    np.testing.assert_array_equal(one.numbers != 0, weights.T.ravel() != 0)


@pytest.mark.parametrize("price", [0.0, 0.02, 0.2, 1.0])
def test_each_weight_has_the_choice_of_least_error_and_bits_by_the_codes_before_it(price):
    importance = np.random.default_rng(0).uniform(0.2, 2, kernel().weights.size)
    before = replace(kernel(), importance=importance)
    used = before.indices >= 0
    counts = [max(int((before.indices == value).sum()), 1) for value in range(before.values.size)]
    codes = [np.log2(sum(counts) / count) for count in counts]
    gaps = GapCode(before.positions[used], before.size).bits(before.positions)
    expected = []
    for weight, heavy, gap in zip(before.weights, importance, gaps, strict=True):
        costs = {-1: heavy * weight**2}
        for index, (value, code) in enumerate(zip(before.values, codes, strict=True)):
            costs[index] = heavy * (weight - value) ** 2 + price * (code + gap)
        expected.append(min(costs, key=costs.get))
    after = choose_values(before, price, turns=1)
    np.testing.assert_array_equal(after.indices, expected)
    for index, value in enumerate(after.values):
        mine = after.indices == index
        if mine.any():
            assert value == pytest.approx(np.average(before.weights[mine], weights=importance[mine]))
    assert (after.indices < 0).any() == (price > 0.5)


def by_matrix(one, price):
    """The choice of each weight from a matrix of the costs of all values and weights."""
    codes, gaps = one.bits()
    errors = one.importance * (one.weights - one.values[:, None]) ** 2 + price * (codes[:, None] + gaps)
    best = errors.argmin(0)
    return np.where(one.importance * one.weights**2 <= errors[best, np.arange(best.size)], -1, best)


@pytest.mark.parametrize("price", [0.0, 0.05, 0.5])
def test_value_by_value_the_choice_is_that_of_a_matrix_of_all(price):
    for seed in range(3):
        one = kernel(clusters=20, seed=seed, sparsity=0.5)
        rounded = replace(one, weights=one.weights.round(1), values=one.values.round(1))  # with many ties
        for before in (one, rounded):
            np.testing.assert_array_equal(choose_values(before, price, turns=1).indices, by_matrix(before, price))


def test_the_choice_takes_no_memory_for_each_value():
    values, weights = np.linspace(-1, 1, 200), np.random.default_rng(0).normal(size=50_000)
    one = replace(
        coded_kernel(weights[:, None], cluster(weights[:, None], 2)),
        values=values,
        indices=np.zeros(weights.size, np.int64),
    )
    tracemalloc.start()
    try:
        choose_values(one, 0.1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < values.size / 4 * weights.nbytes


def test_a_kernel_of_zeros_alone_stays_as_it_is_and_the_others_get_the_bytes():
    zeros, one = coded_kernel(np.zeros((9, 5)), cluster(np.zeros((9, 5)), 4)), kernel()
    assert zeros.values.size == zeros.weights.size == 0
    for price in (0.0, 1.0):
        assert not choose_values(zeros, price).numbers.any()
    wanted = round(0.7 * bytes_of(one))
    found = fit_bytes([zeros, one], wanted).kernels
    assert not found[0].numbers.any()
    assert 0.97 * wanted < bytes_of(*found) <= wanted


def test_nothing_to_choose_from_gives_what_there_was():
    zeros = coded_kernel(np.zeros((9, 5)), cluster(np.zeros((9, 5)), 4))
    assert fit_bytes([zeros], 1).kernels == [zeros]
    assert fit_bytes([], 1).kernels == []


def test_without_a_price_the_choice_is_that_of_k_means():
    one = kernel()
    assert error(choose_values(one, 0.0)) == pytest.approx(error(one), rel=0.01)


@pytest.mark.parametrize("share", [0.9, 0.7, 0.4])
def test_several_kernels_take_almost_the_bytes_asked_for_and_no_more(share):
    kernels = [kernel(), kernel(seed=2, shape=(300, 40), sparsity=0.95)]
    wanted = round(share * bytes_of(*kernels))
    found = fit_bytes(kernels, wanted).kernels
    assert 0.97 * wanted < bytes_of(*found) <= wanted
    for before, after in zip(kernels, found, strict=True):
        assert set(np.flatnonzero(after.numbers)) <= set(np.flatnonzero(before.numbers))


def test_of_as_many_bytes_the_error_is_less_than_with_fewer_values_or_more_zeros():
    one = kernel()
    for rival in (kernel(clusters=4), kernel(sparsity=0.93)):
        filled = np.zeros(one.size)
        filled[rival.positions] = rival.values[rival.indices]
        lost = float(((filled[one.positions] - one.weights) ** 2).sum())
        assert error(fit_bytes([one], bytes_of(rival)).kernels[0]) < 0.9 * lost


def test_a_kernel_that_matters_more_keeps_more_of_its_weights():
    one, other = kernel(), kernel(seed=2)
    found = fit_bytes([replace(one, importance=10 * one.importance), other], round(0.6 * bytes_of(one, other))).kernels
    kept = [np.count_nonzero(each.numbers) for each in found]
    assert kept[0] > 1.5 * kept[1]


def test_isolated_weights_go_before_those_beside_others():
    generator = np.random.default_rng(5)
    flat = np.zeros(20_000)
    flat[:400] = generator.choice([-1.0, 1.0], 400)  # the gaps inside are none
    flat[1000 + generator.choice(19_000, 380, replace=False)] = generator.choice([-1.0, 1.0], 380)
    one = coded_kernel(flat[:, None], cluster(flat[:, None], 3))
    found = fit_bytes([one], round(0.8 * bytes_of(one))).kernels[0].numbers
    assert np.count_nonzero(found[:400]) > 0.95 * 400
    assert np.count_nonzero(found[1000:]) < 0.9 * 380


def test_bytes_that_no_choice_reaches_give_the_smallest():
    assert not fit_bytes([kernel()], 1).kernels[0].numbers.any()


def test_bytes_that_are_there_already_change_nothing_but_the_last_digits():
    one = kernel()
    (found,) = fit_bytes([one], 10 * bytes_of(one)).kernels
    assert error(found) <= error(one)
    assert np.count_nonzero(found.numbers) == np.count_nonzero(one.numbers)


@pytest.fixture
def tries(monkeypatch):
    """The prices that are tried, of a bit of one kernel."""
    tried, own = [], entropy_clustering.choose_values
    monkeypatch.setattr(
        entropy_clustering, "choose_values", lambda kernel, price: tried.append(price) or own(kernel, price)
    )
    return tried


@pytest.mark.parametrize("near", [entropy_clustering.LEAST, -9.0, 0.0, entropy_clustering.MOST])
def test_from_any_price_the_bytes_are_found(near):
    one = kernel()
    wanted = round(0.7 * bytes_of(one))
    assert 0.97 * wanted < bytes_of(*fit_bytes([one], wanted, near).kernels) <= wanted


def test_bytes_that_fall_a_little_are_found_in_fewer_tries_from_the_last_price(tries):
    one = kernel(shape=(300, 100))
    steps = [round(bytes_of(one) * (0.9 - 0.01 * number)) for number in range(10)]
    near = entropy_clustering.LEAST
    for wanted in steps:
        near = fit_bytes([one], wanted, near).exponent
    from_the_last = len(tries)
    tries.clear()
    for wanted in steps:
        fit_bytes([one], wanted)
    assert from_the_last < 0.7 * len(tries)


@pytest.mark.parametrize("near", [-12.0, 0.0, 9.0])
def test_bytes_that_no_choice_reaches_give_the_smallest_from_any_price_at_once(near, tries):
    assert not fit_bytes([kernel()], 1, near).kernels[0].numbers.any()
    assert len(tries) <= 6


@pytest.mark.parametrize("near", [entropy_clustering.LEAST, 0.0])
def test_where_the_bytes_suffice_bits_cost_nothing_in_the_end(near, tries):
    one = kernel()
    assert fit_bytes([one], 10 * bytes_of(one), near).exponent == entropy_clustering.LEAST
    assert len(tries) <= 5
    assert tries[-1] == 0

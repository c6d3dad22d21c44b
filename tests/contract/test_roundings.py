"""What every way to choose the integers of a kernel keeps to."""

import dataclasses
import importlib
import itertools

import numpy as np
import pytest

from tfopt.quantization.rounding.problem import KernelProblem, Moments, Rows, least_squares
from tfopt.recipe.modes import ROUNDINGS

CHOOSING = [name for name, entry in ROUNDINGS.items() if entry.choose]


@pytest.fixture(params=CHOOSING)
def rounding(request):
    return ROUNDINGS[request.param]


def problem(inputs, weights, scale=0.25, low=-8, high=7):
    """The problem of one kernel, with inputs `(groups, count, columns)` that both nets see."""
    rows = inputs.astype(np.float32)
    mean = rows.mean(1, dtype=np.float64)
    centred = rows - mean[:, None]
    gram = centred.transpose(0, 2, 1) @ centred / rows.shape[1]
    target, damped = least_squares(weights, Moments(gram, gram, mean, mean))
    outputs = (rows @ weights.transpose(0, 2, 1)).astype(np.float32)
    seen = Rows(centred.astype(np.float32), outputs, outputs.mean(1, keepdims=True), (-np.inf, np.inf))
    scales = np.full((*weights.shape[:2], 1), scale)
    return KernelProblem(weights, scales, low, high, damped, target, seen)


def correlated(columns=3, groups=1, seed=0):
    """Inputs with much in common, and weights between -1.7 and 1.7."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(groups, 400, columns)) + 2 * draw.normal(size=(groups, 400, 1)) + 1
    return inputs, draw.uniform(-1.7, 1.7, (groups, 5, columns))


def test_an_entry_is_alone_in_the_file_of_its_name():
    for name, entry in ROUNDINGS.items():
        assert ROUNDINGS.entries_of(importlib.import_module(f"{ROUNDINGS.package}.{name}")) == [entry]
        assert entry.about


def test_what_is_the_best_of_others_names_others():
    for entry in ROUNDINGS.values():
        assert set(entry.tries) <= set(ROUNDINGS) - {entry.name}


def test_integers_are_on_the_grid_and_zeros_stay(rounding):
    inputs, weights = correlated(columns=9, groups=4)
    weights[:, :, ::2] = 0
    found = rounding.choose(problem(inputs, weights, scale=0.1))
    assert found.shape == weights.shape
    assert np.array_equal(found, np.rint(found))
    assert -8 <= found.min() <= found.max() <= 7
    assert (found[weights == 0] == 0).all()
    assert found[weights != 0].any()


def test_three_weights_are_as_good_as_the_best_of_all_integers_nearly(rounding):
    """The best of all integers is found by trying them; the nearest ones are far from it where inputs are alike."""
    inputs, weights = correlated()
    given = problem(inputs, weights)
    every = np.array(list(itertools.product(range(-8, 8), repeat=3)))
    errors = given.target[0][:, None] - every * 0.25
    losses = np.einsum("cij,jk,cik->ci", errors, given.gram[0], errors)
    best, found = losses.min(1).sum(), given.loss(rounding.choose(given))
    nearest = given.loss(given.nearest(given.weights))
    assert best <= found + 1e-9
    assert found - best < 0.35 * (nearest - best)


def test_independent_inputs_leave_nothing_to_choose(rounding):
    draw = np.random.default_rng(1)
    inputs = draw.normal(size=(64, 4))
    inputs = np.linalg.qr(inputs - inputs.mean(0))[0][None]  # columns of mean 0, at right angles
    weights = draw.uniform(-1.7, 1.7, (1, 6, 4))
    given = problem(inputs * 8, weights)
    assert given.loss(rounding.choose(given)) <= 1.05 * given.loss(given.nearest(given.target))


def test_the_same_is_chosen_twice(rounding):
    given = problem(*correlated(columns=6, groups=2))
    assert np.array_equal(rounding.choose(given), rounding.choose(given))


def test_the_work_is_estimated_and_grows_with_the_kernel(rounding):
    assert 0 < rounding.work(1, 4, 9) < rounding.work(1, 8, 9) < rounding.work(1, 8, 90) < rounding.work(2, 8, 90)


def test_what_learns_in_steps_does_so_in_some_of_them_too(rounding):
    given = problem(*correlated(columns=6))
    some = rounding.choose(dataclasses.replace(given, share=rounding.least_share))
    assert given.loss(some) <= given.loss(given.nearest(given.weights))
    assert np.array_equal(some, rounding.choose(given)) or rounding.least_share < 1

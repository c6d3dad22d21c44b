"""How zeros are shared out, against closed forms and brute force."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.callbacks import MagnitudePruning
from tfopt.errors import InputError, ModelError
from tfopt.sparsity.allocations import ALLOCATIONS
from tfopt.sparsity.allocations.erk import erdos_renyi_kernel
from tfopt.sparsity.allocations.lamp import lamp_scores
from tfopt.sparsity.magnitude import kept_count, shared_thresholds
from tfopt.sparsity.pruning_plan import allocate
from tfopt.sparsity.selection import choose_kernels


@pytest.fixture(scope="module")
def kernels():
    model = keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(16, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(64, name="wide"),
            layers.Dense(10, name="head"),
        ]
    )
    return choose_kernels(model)[0]


def test_uniform_gives_each_kernel_the_same(kernels):
    assert allocate(kernels, 0.8) == [0.8, 0.8, 0.8]


@pytest.mark.parametrize("allocation", ["global", "lamp"])
def test_those_ranked_together_have_no_share_of_their_own(kernels, allocation):
    assert allocate(kernels, 0.8, allocation) == [None, None, None]


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_a_rule_goes_before_any_allocation_and_the_last_one_counts(kernels, allocation):
    shares = allocate(kernels, 0.8, allocation, {"Dense": 0.9, "head": 0.25})
    assert shares[1:] == [0.9, 0.25]
    assert shares[0] != 0.9


def test_erk_leaves_densities_in_proportion_to_the_sums_of_the_axes(kernels):
    shapes = [tuple(kernel.variable.shape) for kernel in kernels]
    found = erdos_renyi_kernel(shapes, 0.9)
    sizes = np.array([np.prod(shape) for shape in shapes])
    assert np.dot(found, sizes) == pytest.approx(0.9 * sizes.sum())
    ratios = [(1 - s) * np.prod(shape) / sum(shape) for s, shape in zip(found, shapes, strict=True)]
    open_ones = [ratio for ratio, s in zip(ratios, found, strict=True) if s > 0]
    assert len(open_ones) >= 2
    assert np.allclose(open_ones, open_ones[0])


def test_erk_keeps_small_kernels_dense_and_makes_up_for_it_elsewhere():
    shapes = [(2, 2), (1000, 1000)]
    found = erdos_renyi_kernel(shapes, 0.5)
    assert found[0] == 0
    assert found[1] * 1_000_000 == pytest.approx(0.5 * 1_000_004)


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.99])
def test_erk_with_one_kernel_is_the_sparsity_asked_for(sparsity):
    assert erdos_renyi_kernel([(30, 20)], sparsity) == [pytest.approx(sparsity)]


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    arrays = [generator.normal(0, scale, shape) for scale, shape in ((1, (30, 20)), (0.1, (50, 8)), (3, (7, 3)))]
    return [np.abs(array).astype(np.float32) for array in arrays]


def kept_by(scores, sparsity, allocation):
    thresholds = shared_thresholds(scores, sparsity, ALLOCATIONS[allocation])
    return [array >= threshold for array, threshold in zip(scores, thresholds, strict=True)]


@pytest.mark.parametrize("sparsity", [0.3, 0.8, 0.97])
def test_global_keeps_the_largest_wherever_they_are(scores, sparsity):
    found = kept_by(scores, sparsity, "global")
    flat = np.concatenate([array.ravel() for array in scores])
    expected = np.zeros(flat.size, bool)
    expected[np.argsort(-flat)[: kept_count(flat.size, sparsity)]] = True
    lonely = [array for array, keep in zip(scores, found, strict=True) if keep.sum() == 1]
    if not lonely:
        np.testing.assert_array_equal(np.concatenate([keep.ravel() for keep in found]), expected)
    assert all(keep.any() for keep in found)


def lamp_by_definition(array):
    flat = array.ravel().astype(np.float64) ** 2
    return np.array([value / flat[flat >= value].sum() for value in flat]).reshape(array.shape)


@pytest.mark.parametrize("sparsity", [0.3, 0.8, 0.97])
def test_lamp_keeps_the_largest_scores_of_its_definition(scores, sparsity):
    found = kept_by(scores, sparsity, "lamp")
    flat = np.concatenate([lamp_by_definition(array).ravel() for array in scores])
    expected = np.zeros(flat.size, bool)
    expected[np.argsort(-flat)[: kept_count(flat.size, sparsity)]] = True
    np.testing.assert_array_equal(np.concatenate([keep.ravel() for keep in found]), expected)


def test_lamp_does_not_look_at_the_scale_of_a_kernel(scores):
    first = kept_by(scores, 0.9, "lamp")
    larger = [scores[0], scores[1] * 1000, scores[2]]
    for before, after in zip(first, kept_by(larger, 0.9, "lamp"), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_lamp_score_of_the_largest_weight_is_one():
    scores = lamp_scores(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(scores, [1 / 14, 4 / 13, 1])


@pytest.mark.parametrize("allocation", ["global", "lamp"])
def test_every_kernel_keeps_its_largest_weight_and_one_of_zeros_stays(allocation):
    scores = [np.linspace(1, 2, 100, dtype=np.float32), np.array([1e-6, 2e-6], np.float32), np.zeros(5, np.float32)]
    found = kept_by(scores, 0.98, allocation)
    assert found[1].tolist()[-1]
    assert found[0].any()


@pytest.mark.parametrize("allocation", ["global", "lamp"])
def test_more_zeros_than_asked_for_leave_all_that_is_there(allocation):
    scores = [np.array([0, 0, 0, 1, 2], np.float32), np.array([0, 0, 0, 0, 3], np.float32)]
    kept_ones = kept_by(scores, 0.2, allocation)
    assert [keep[array > 0].all() for keep, array in zip(kept_ones, scores, strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("rules", "field"),
    [({"hed": 0.5}, ("rules", 0, "layers")), ([(("head", "conv"), 0.5), (("hed",), 0.5)], ("rules", 1, "layers"))],
)
def test_a_rule_without_a_layer_is_named(kernels, rules, field):
    with pytest.raises(ModelError, match="Did you mean 'head'") as caught:
        allocate(kernels, 0.8, "uniform", rules)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("rules", "words", "field"),
    [
        ({"head": 0.5, "conv": 1.0}, "below 1. Received: conv: 1.0", ("rules", 1, "sparsity")),
        ({"head": -0.1}, "at least 0", ("rules", 0, "sparsity")),
        ([{"layers": "head", "sparsity": 0.5}], "rules is a dict of layer patterns and numbers", ()),
        ({"head": "dense"}, "rules is a dict of layer patterns and numbers", ()),
        (["head"], "rules is a dict of layer patterns and numbers", ()),
    ],
)
def test_what_is_no_rule_is_refused(rules, words, field):
    with pytest.raises(InputError, match=words) as caught:
        MagnitudePruning(0.8, rules=rules)
    assert caught.value.field == field


def test_the_last_rule_that_matches_wins_also_where_a_pattern_comes_twice(kernels):
    rules = [(("head",), 0.5), (("*",), 0.25), (("head",), 0.75)]
    assert allocate(kernels, 0.8, "uniform", rules) == [0.75 if k.place.path == "head" else 0.25 for k in kernels]


@pytest.mark.parametrize("allocation", ["uniform", "global", "lamp", "erk"])
def test_no_sparsity_but_a_rule_leaves_the_rest_dense(kernels, allocation):
    shares = allocate(kernels, 0.0, allocation, {"head": 0.5})
    assert shares == [0.5 if k.place.path == "head" else 0.0 for k in kernels]

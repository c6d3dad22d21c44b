"""What every allocation keeps to."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfopt
from tfopt.errors import InputError
from tfopt.sparsity.allocations import ALLOCATIONS, Allocation
from tfopt.sparsity.mask_updates import MaskUpdater
from tfopt.sparsity.patterns import Unstructured
from tfopt.sparsity.pruning_plan import allocate
from tfopt.sparsity.selection import choose_kernels

NEW = """
from tfopt.sparsity.allocations import Allocation


def last(shapes, sparsity):
    return [0.0] * (len(shapes) - 1) + [sparsity]


TOP_HEAVY = Allocation("top_heavy", "The last kernel takes all zeros.", last)
"""


@pytest.fixture(params=ALLOCATIONS)
def allocation(request):
    return ALLOCATIONS[request.param]


@pytest.fixture
def kernels():
    keras.utils.set_random_seed(0)
    stack = [layers.Conv2D(16, 3), layers.Flatten(), layers.Dense(40), layers.Dense(2), layers.Dense(30)]
    return choose_kernels(keras.Sequential([layers.Input((8, 8, 3)), *stack]))[0]


def masks(kernels, allocation, sparsity, renewed):
    shares = allocate(kernels, sparsity, allocation.name)
    updater = MaskUpdater(
        kernels, Unstructured(), shares, sparsity, tf.distribute.get_strategy(), allocation=allocation.name
    )
    renewed(updater, sparsity)
    return [mask.numpy() for mask in updater.masks]


def on_the_host(updater, sparsity):
    updater.renew(sparsity)


def in_the_graph(updater, sparsity):
    tf.function(
        updater.update_in_graph(tf.Variable(1, dtype=tf.int64), tfopt.sparsity.constant_sparsity(sparsity, 1))
    )()


def test_the_registry_holds_the_documented_allocations():
    assert list(ALLOCATIONS) == ["uniform", "global", "lamp", "erk"]


def test_an_allocation_goes_by_its_word_in_a_file_of_that_word(allocation, file_of):
    assert ALLOCATIONS[allocation.name] is allocation
    words = {"global": "global_ranking"}  # which is a keyword of Python
    assert file_of(ALLOCATIONS, allocation) == words.get(allocation.name, allocation.name)


def test_it_says_in_one_sentence_where_the_zeros_go(allocation):
    assert allocation.about[0].isupper()
    assert allocation.about.endswith(".")
    assert len(allocation.about) <= 120


@pytest.mark.parametrize(
    ("renewed", "sparsity"),
    [
        (on_the_host, 0.5),
        (on_the_host, 0.9),
        (in_the_graph, 0.5),
        pytest.param(in_the_graph, 0.9, marks=pytest.mark.slow),
    ],
)
def test_all_kernels_together_are_as_sparse_as_asked_for(kernels, allocation, sparsity, renewed):
    found = masks(kernels, allocation, sparsity, renewed)
    assert [mask.shape for mask in found] == [tuple(kernel.variable.shape) for kernel in kernels]
    zeros, size = sum((mask == 0).sum() for mask in found), sum(mask.size for mask in found)
    assert zeros == pytest.approx(sparsity * size, abs=len(found))


@pytest.mark.parametrize("renewed", [on_the_host, in_the_graph])
def test_no_kernel_loses_its_last_weight(kernels, allocation, renewed):
    assert all(mask.any() for mask in masks(kernels, allocation, 0.999, renewed))


def test_sparsities_of_single_kernels_are_shares_and_add_up(allocation):
    if allocation.sparsities is None:
        pytest.skip("has none of its own")
    shapes = [(3, 3, 3, 16), (576, 40), (40, 2), (7, 7)]
    found = allocation.sparsities(shapes, 0.8)
    sizes = [np.prod(shape) for shape in shapes]
    assert len(found) == len(shapes)
    assert all(0 <= share < 1 for share in found)
    assert np.dot(found, sizes) == pytest.approx(0.8 * sum(sizes))


def test_ranks_rise_with_the_scores_and_are_the_same_in_tensorflow(allocation):
    if allocation.rank_scores is None:
        pytest.skip("compares scores as they are, or ranks none")
    assert allocation.together
    scores = np.sort(np.random.default_rng(0).random(200).astype(np.float32) + 1e-3)
    ranks = allocation.rank_scores(scores)
    assert ranks.shape == scores.shape
    assert (np.diff(ranks) >= 0).all()
    np.testing.assert_allclose(allocation.rank_tensors(tf.constant(scores)).numpy(), ranks, rtol=1e-12)
    with_zeros = allocation.rank_tensors(tf.constant(np.concatenate([[0, 0], scores]).astype(np.float32))).numpy()
    np.testing.assert_allclose(with_zeros, np.concatenate([[0, 0], ranks]), rtol=1e-12)


def test_ranks_in_numpy_alone_are_refused():
    with pytest.raises(InputError, match="give it both"):
        Allocation("half", "Half an allocation.", together=True, rank_scores=lambda scores: scores)


def test_listing_them_imports_no_framework(listed_afresh):
    assert listed_afresh["tfopt.sparsity.allocations", "ALLOCATIONS"] == [list(ALLOCATIONS), []]


def test_a_new_file_is_a_new_allocation_of_the_stage(new_file, run_stage):
    new_file(ALLOCATIONS, "top_heavy", NEW)
    artifact = run_stage("prune: {sparsity: 0.75, allocation: top_heavy, epochs: 1}")
    assert artifact.details["sparsity"] == {"head/kernel": pytest.approx(0.75)}
    assert "top_heavy" in tfopt.Prune.model_json_schema()["properties"]["allocation"]["enum"]

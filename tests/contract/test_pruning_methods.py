"""What every pruning method keeps to."""

import numpy as np
import pytest

from tfopt.sparsity.least_squares import LayerProblem
from tfopt.sparsity.methods import METHODS
from tfopt.sparsity.patterns import Unstructured


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def test_the_registry_holds_the_documented_methods():
    assert list(METHODS) == ["magnitude", "sparsegpt"]


def test_a_method_goes_by_its_word_in_a_file_of_that_word(method, file_of):
    assert METHODS[method.name] is method
    assert file_of(METHODS, method) == method.name


def test_it_says_in_one_sentence_which_weights_go(method):
    assert method.about[0].isupper()
    assert method.about.endswith(".")


def test_it_reaches_the_sparsity_and_leaves_the_problem_as_it_was(method):
    if method.weights is None:
        pytest.skip("it works on magnitudes alone")
    weights = np.random.default_rng(0).normal(size=(40, 10))
    problem = LayerProblem(weights.copy(), weights.copy(), np.eye(40), 40)
    pruned = method.weights(problem, Unstructured(), 0.75)
    assert np.count_nonzero(pruned) == 100
    np.testing.assert_array_equal(problem.weights, weights)
    np.testing.assert_array_equal(problem.target, weights)

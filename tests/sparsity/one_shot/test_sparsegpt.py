"""SparseGPT, against the surgery of its paper done one input after the other with explicit inverses."""

import numpy as np
import pytest

from tfopt.sparsity.least_squares import LayerProblem
from tfopt.sparsity.magnitude import kept_count
from tfopt.sparsity.methods.sparsegpt import SPARSEGPT, surgery
from tfopt.sparsity.patterns import Blocks, NOfM, Unstructured

INPUTS, OUTPUTS = 12, 5


@pytest.fixture
def problem():
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(200, INPUTS)) @ generator.normal(size=(INPUTS, INPUTS))
    weights = generator.normal(size=(INPUTS, OUTPUTS))
    return LayerProblem(weights, weights + 0.1, rows.T @ rows / 200 + 0.1 * np.eye(INPUTS), INPUTS)


def by_hand(problem, keep):
    """Optimal brain surgeon, input by input: the weights still to come make up for what the others lose."""
    weights = problem.target.copy()
    for row in range(len(weights)):
        inverse = np.linalg.inv(problem.hessian[row:, row:])
        lost = np.where(keep[row], 0, weights[row])
        weights[row:] -= np.outer(inverse[0] / inverse[0, 0], lost)
        weights[row] *= keep[row]
    return weights


def loss(problem, weights):
    off = weights - problem.target
    return np.trace(off.T @ problem.hessian @ off)


def test_single_weights_go_by_saliency_and_the_others_make_up_for_them(problem):
    order = np.argsort(-np.diag(problem.hessian), kind="stable")
    sorted_one = LayerProblem(
        problem.weights[order], problem.target[order], problem.hessian[np.ix_(order, order)], INPUTS
    )
    inverses = [np.linalg.inv(sorted_one.hessian[row:, row:])[0, 0] for row in range(INPUTS)]
    saliency = sorted_one.target**2 / np.array(inverses)[:, None]
    keep = saliency >= np.sort(saliency, axis=None)[-kept_count(saliency.size, 0.6)]
    pruned = surgery(problem, Unstructured(), 0.6)
    np.testing.assert_allclose(pruned[order], by_hand(sorted_one, keep), atol=1e-9)
    assert np.count_nonzero(pruned) == kept_count(pruned.size, 0.6)


def test_lots_go_on_from_one_another(problem, monkeypatch):
    monkeypatch.setattr("tfopt.sparsity.methods.sparsegpt.LOT", 5)
    pruned = surgery(problem, Blocks(1, 1), 0.5)
    np.testing.assert_allclose(pruned, by_hand(problem, pruned != 0), atol=1e-9)


@pytest.mark.parametrize("pattern", [Blocks(2, 2), Blocks(4, 3, "max"), NOfM(2, 4), NOfM(1, 2)], ids=str)
def test_a_pattern_is_kept_and_made_up_for(problem, pattern):
    pruned = surgery(problem, pattern, 0.5)
    np.testing.assert_allclose(pruned, by_hand(problem, pruned != 0), atol=1e-9)
    if isinstance(pattern, NOfM):
        groups = (pruned != 0).reshape(-1, pattern.of, OUTPUTS).sum(axis=1)
        assert (groups == pattern.keep).all()
    else:
        blocks = [
            pruned[row : row + pattern.height, column : column + pattern.width] != 0
            for row in range(0, INPUTS, pattern.height)
            for column in range(0, OUTPUTS, pattern.width)
        ]
        assert all(block.all() or not block.any() for block in blocks)
        assert sum(block.any() for block in blocks) == kept_count(len(blocks), 0.5)
    refitted = SPARSEGPT.weights(problem, pattern, 0.5)
    np.testing.assert_array_equal(refitted != 0, pruned != 0)
    best = min(loss(problem, pruned), loss(problem, problem.target * (pruned != 0)))
    assert loss(problem, refitted) <= best * (1 + 1e-9)


def test_what_would_take_long_is_left_as_the_surgery_leaves_it(problem, monkeypatch):
    monkeypatch.setattr("tfopt.sparsity.methods.sparsegpt.MOST_WORK", 0)
    pruned = SPARSEGPT.weights(problem, Unstructured(), 0.5)
    np.testing.assert_array_equal(pruned, surgery(problem, Unstructured(), 0.5))


def test_groups_do_not_reach_over_the_end_of_a_row(problem):
    short = LayerProblem(problem.weights, problem.target, problem.hessian, 6)
    kept = surgery(short, NOfM(2, 4), 0.5) != 0
    for start in (0, 6):
        assert (kept[start : start + 4].sum(axis=0) == 2).all()
        assert kept[start + 4 : start + 6].all()

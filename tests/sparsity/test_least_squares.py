"""The least-squares problem of a layer, against NumPy's solver on stacked rows."""

import numpy as np
import pytest

from tfopt.quantization.rounding.problem import DAMPING
from tfopt.sparsity.least_squares import InputMoments, LayerProblem, refitted


@pytest.mark.parametrize("centred", [False, True])
def test_the_target_is_the_solution_of_the_stacked_rows(centred):
    generator = np.random.default_rng(0)
    before = generator.normal(1, 1, (400, 6))
    after = before + generator.normal(0, 0.5, before.shape)
    weights = generator.normal(size=(6, 3))
    moments = InputMoments(6)
    for part in (slice(0, 150), slice(150, 400)):
        moments.add(before[part], after[part])
    problem = moments.problem(weights, 6, centred)
    if centred:
        before, after = before - before.mean(0), after - after.mean(0)
    damping = DAMPING * np.mean(after**2)
    rows = np.concatenate([after / np.sqrt(len(after)), np.sqrt(damping) * np.eye(6)])
    wanted = np.concatenate([before @ weights / np.sqrt(len(after)), np.sqrt(damping) * weights])
    np.testing.assert_allclose(problem.target, np.linalg.lstsq(rows, wanted, rcond=None)[0], atol=1e-9)
    np.testing.assert_allclose(problem.hessian, rows.T @ rows, atol=1e-9)


def test_refitted_weights_are_those_of_least_error_in_their_places():
    generator = np.random.default_rng(0)
    root, target = generator.normal(size=(6, 6)), generator.normal(size=(6, 3))
    keep = np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    found = refitted(LayerProblem(target, target, root.T @ root, 6), keep)
    for output, rows in enumerate(keep.T):
        best = np.linalg.lstsq(root[:, rows], root @ target[:, output], rcond=None)[0]
        np.testing.assert_allclose(found[rows, output], best, atol=1e-8)
    assert not found[~keep].any()

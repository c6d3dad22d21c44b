"""The least-squares problem of one kernel, against NumPy's own solver and step by step."""

import numpy as np
import pytest

from tfopt.quantization.rounding import problem as problems
from tfopt.quantization.rounding.clipping import least_error_scales
from tfopt.quantization.rounding.methods.descent import descent
from tfopt.quantization.rounding.problem import KernelProblem, Moments, least_squares


def seen(count=500, columns=6):
    draw = np.random.default_rng(0)
    floats = draw.normal(size=(count, columns)) @ draw.normal(size=(columns, columns)) + 3
    return floats, np.rint(floats * 4) / 4 + 0.2, draw.normal(size=(4, columns))


def moments(floats, quantized):
    mean_float, mean_quantized = floats.mean(0), quantized.mean(0)
    mine, theirs = quantized - mean_quantized, floats - mean_float
    gram, cross = mine.T @ mine / len(mine), theirs.T @ mine / len(mine)
    return Moments(gram[None], cross[None], mean_float[None], mean_quantized[None])


def test_the_target_is_what_least_squares_with_an_offset_finds(monkeypatch):
    monkeypatch.setattr(problems, "DAMPING", 0.0)
    floats, quantized, weights = seen()
    target, _ = least_squares(weights[None], moments(floats, quantized))
    with_offset = np.concatenate([quantized, np.ones((len(quantized), 1))], axis=1)
    expected = np.linalg.lstsq(with_offset, floats @ weights.T, rcond=None)[0]
    np.testing.assert_allclose(target[0], expected[:-1].T, rtol=1e-6)


def test_damping_holds_the_target_at_the_weights():
    """Of inputs that never vary nothing is known, and the weights stay as they are."""
    floats, quantized, weights = seen()
    floats[:, 2] = quantized[:, 2] = 1.0
    target, _ = least_squares(weights[None], moments(floats, quantized))
    np.testing.assert_allclose(target[0][:, 2], weights[:, 2], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_after_descent_no_single_step_is_better(seed):
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(7, 7)) + draw.normal(size=(7, 1))
    weights = draw.uniform(-1, 1, (1, 3, 7))
    given = KernelProblem(weights, np.full((1, 3, 1), 0.15), -8, 7, (root @ root.T + np.eye(7))[None], weights)
    found = descent(given)
    least = given.loss(found)
    assert least <= given.loss(given.nearest(weights))
    for channel in range(3):
        for column in range(7):
            for step in (-1, 1):
                other = found.copy()
                other[0, channel, column] = np.clip(other[0, channel, column] + step, -8, 7)
                assert given.loss(other) >= least - 1e-12


def test_clipped_scales_have_the_least_error_that_a_fine_search_finds():
    draw = np.random.default_rng(0)
    weights = draw.standard_t(3, size=(1, 4, 200))
    largest = np.abs(weights).max(-1, keepdims=True) / 7
    found = least_error_scales(weights, largest, np.zeros_like(largest), -8, 7)

    def error(scales):
        return np.square(np.clip(np.rint(weights / scales), -8, 7) * scales - weights).sum(-1)

    fine = np.min([error(largest * share) for share in np.linspace(0.2, 1.3, 2000)], axis=0)
    assert (error(found) <= 1.02 * fine).all()
    assert error(found).sum() < 0.8 * error(largest).sum()
    assert np.array_equal(least_error_scales(weights, largest, 2 * largest, -8, 7), 2 * largest)


def test_a_channel_of_zeros_keeps_its_scale():
    scales = np.full((1, 1, 1), 0.5)
    assert least_error_scales(np.zeros((1, 1, 3)), scales, np.zeros_like(scales), -8, 7) == 0.5

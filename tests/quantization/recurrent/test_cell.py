"""The LSTM cell in NumPy against Keras's layer."""

import keras
import numpy as np
import pytest

from tfopt.quantization.recurrent.cell import cell_ranges


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backwards", [False, True])
def test_cell_computes_what_keras_computes(backwards, bias):
    keras.utils.set_random_seed(3)
    layer = keras.layers.LSTM(
        5, return_sequences=True, return_state=True, go_backwards=backwards, use_bias=bias, bias_initializer="uniform"
    )
    x = np.random.default_rng(0).normal(size=(6, 9, 3)).astype(np.float32) * 3
    outputs, h, c = (np.asarray(value) for value in layer(x))
    kernel, recurrent, *offset = (np.asarray(weight) for weight in layer.get_weights())

    run = cell_ranges(x, kernel, recurrent, offset[0] if bias else None, backwards)

    np.testing.assert_allclose(run.h, outputs, atol=2e-6)
    np.testing.assert_allclose(run.h[:, -1], h, atol=2e-6)
    assert (run.c_low <= c.min(axis=1) + 2e-6).all()
    assert (run.c_high >= c.max(axis=1) - 2e-6).all()
    assert run.c_reach >= np.abs(c).max() - 2e-6


def test_extremes_of_the_state_are_those_of_every_step():
    keras.utils.set_random_seed(4)
    layer = keras.layers.LSTM(4, return_state=True)
    x = np.random.default_rng(1).normal(size=(3, 7, 2)).astype(np.float32) * 5
    states = np.stack([np.asarray(layer(x[:, : step + 1])[2]) for step in range(7)], axis=1)

    run = cell_ranges(x, *(np.asarray(weight) for weight in layer.get_weights()))

    np.testing.assert_allclose(run.c_low, np.minimum(states.min(axis=(1, 2)), 0), atol=2e-6)
    np.testing.assert_allclose(run.c_high, np.maximum(states.max(axis=(1, 2)), 0), atol=2e-6)
    assert (run.h_low <= 0).all()
    assert (run.h_high >= 0).all()


def test_a_gate_that_is_far_from_zero_does_not_overflow():
    kernel = np.full((1, 4), -1000, np.float32)
    with np.errstate(all="raise"):
        run = cell_ranges(np.ones((1, 2, 1), np.float32), kernel, np.zeros((1, 4), np.float32))
    assert not run.h.any()

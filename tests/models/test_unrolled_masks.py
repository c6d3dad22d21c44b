"""Layers that are unrolled for a while give with a mask what their loops give, and are as before afterwards."""

import numpy as np
import pytest
from keras import layers

from tfopt.models.unrolled_masks import unrolled_within, unrolled_wrongly

X = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
MASK = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1]], bool)
SETTINGS = {"return_sequences": True, "zero_output_for_mask": True}


def outputs(layer, mask=MASK):
    return [np.asarray(value) for value in layer(X, mask=mask)]


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("backwards", [True, False])
def test_within_the_block_a_layer_gives_what_its_loop_gives(kind, backwards):
    layer = kind(2, go_backwards=backwards, return_state=True, **SETTINGS)
    looped, unmasked = outputs(layer), outputs(layer, None)
    before = dict(vars(layer))
    assert unrolled_wrongly(layer) is backwards
    with unrolled_within(layer):
        assert layer.unroll
        assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(looped, outputs(layer), strict=True))
        assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(unmasked, outputs(layer, None), strict=True))
    assert vars(layer) == before


def test_a_layer_that_is_built_unrolled_stays_as_it_is():
    layer = layers.LSTM(2, go_backwards=True, unroll=True, **SETTINGS)
    own = np.asarray(layer(X, mask=MASK))
    looped = layers.LSTM(2, go_backwards=True, **SETTINGS)
    looped.build(X.shape)
    looped.set_weights(layer.get_weights())
    assert not np.allclose(own, looped(X, mask=MASK))  # else nothing of this module is needed any more
    with unrolled_within(layer):
        assert np.array_equal(own, layer(X, mask=MASK))
    assert layer.unroll

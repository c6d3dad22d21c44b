"""Compensation of removed channels: what duplicates said is said by those that stay."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.errors import InputError
from tfopt.sparsity.structured import remove


@pytest.fixture
def model():
    """A net whose channels come in pairs that say the same."""
    keras.utils.set_random_seed(0)
    x = inputs = layers.Input((6, 6, 2))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, use_bias=False, name="conv")(x)))
    x = layers.ReLU()(layers.Conv2D(8, 3, name="reads")(x))
    model = keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))
    conv = model.get_layer("conv")
    half = conv.kernel.numpy()[..., :8]
    conv.kernel.assign(np.concatenate([half, half], axis=-1))
    model.layers[2].gamma.assign(np.repeat([1.0, 0.5], 8))
    return model


def test_the_layers_behind_make_up_for_what_is_removed(model):
    x = np.random.default_rng(0).normal(size=(200, 6, 6, 2)).astype(np.float32)
    before, weights = model.predict(x, verbose=0), model.get_weights()
    errors = {}
    for compensate in (False, True):
        smaller = remove(model, 0.5, x=x, score="batchnorm", skip="reads", round_to=1, compensate=compensate).model
        assert smaller.get_layer("conv").filters == 8
        errors[compensate] = np.abs(smaller.predict(x, verbose=0) - before).mean()
    assert errors[True] < 0.1 * errors[False]
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_takes_samples(model):
    with pytest.raises(InputError, match="compensate works on samples"):
        remove(model, 0.5, compensate=True)

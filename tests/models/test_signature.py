"""How many samples a model takes at once in inference."""

import keras
import numpy as np
from keras import layers

from tfopt.models.signature import ACTIVATION_BYTES, inference_batch, keras_outputs


def wide(side):
    """A net whose widest layer has `side * side * 64` values, inside a model of its own."""
    inner = keras.Sequential([layers.Input((side, side, 1)), layers.Conv2D(64, 1), layers.GlobalMaxPooling2D()])
    inputs = layers.Input((side, side, 1))
    return keras.Model(inputs, layers.Dense(2)(inner(inputs)))


def test_a_batch_of_inference_holds_so_many_samples_that_the_widest_layer_stays_in_64_mb():
    assert inference_batch(wide(8)) == 256
    assert inference_batch(wide(128)) == ACTIVATION_BYTES // (4 * 128 * 128 * 64) == 16
    assert inference_batch(wide(1024)) == 1


def test_the_batch_does_not_change_the_outputs():
    model, x = wide(128), np.random.default_rng(0).random((18, 128, 128, 1), np.float32)
    [outputs] = keras_outputs(model, x).values()
    np.testing.assert_allclose(outputs, model(x), rtol=1e-5)

"""The outputs of a Keras model by name, and how many samples it takes at once."""

import keras
import numpy as np
from keras import layers

from tfopt.data.splits import CHUNK
from tfopt.models import signature


class Counted(layers.Layer):
    """Counts how often it is traced."""

    traced = 0

    def call(self, x):
        Counted.traced += 1
        return x + 1.0


class OfOneSize(layers.Layer):
    """Takes no batch of open size."""

    def call(self, x):
        return keras.ops.reshape(x, (int(x.shape[0]), 4)) if x.shape[0] else [][0]

    def compute_output_shape(self, shape):
        return shape


def test_a_model_is_traced_once_for_batches_of_any_size():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3), Counted()])
    x = np.random.default_rng(0).normal(size=(CHUNK + 44, 4)).astype(np.float32)
    before = Counted.traced
    found = signature.keras_outputs(model, x)
    assert Counted.traced == before + 1
    again = signature.keras_outputs(model, x[: CHUNK - 1])
    assert Counted.traced == before + 1
    [values], [few] = found.values(), again.values()
    np.testing.assert_array_equal(values[:CHUNK], model.predict(x[:CHUNK], batch_size=CHUNK, verbose=0))
    np.testing.assert_allclose(values[: CHUNK - 1], few, rtol=1e-6)
    assert len(values) == CHUNK + 44


def test_a_model_that_takes_no_open_batch_is_left_to_keras():
    x = np.random.default_rng(0).normal(size=(CHUNK + 44, 4)).astype(np.float32)
    [values] = signature.keras_outputs(keras.Sequential([layers.Input((4,)), OfOneSize()]), x[:CHUNK]).values()
    np.testing.assert_array_equal(values, x[:CHUNK])


def wide(side):
    """A net whose widest layer has `side * side * 64` values, inside a model of its own."""
    inner = keras.Sequential([layers.Input((side, side, 1)), layers.Conv2D(64, 1), layers.GlobalMaxPooling2D()])
    inputs = layers.Input((side, side, 1))
    return keras.Model(inputs, layers.Dense(2)(inner(inputs)))


def test_a_batch_of_inference_holds_so_many_samples_that_the_widest_layer_stays_in_64_mb():
    assert signature.inference_batch(wide(8)) == 256
    assert signature.inference_batch(wide(128)) == signature.ACTIVATION_BYTES // (4 * 128 * 128 * 64) == 16
    assert signature.inference_batch(wide(1024)) == 1


def test_the_batch_does_not_change_the_outputs():
    model, x = wide(128), np.random.default_rng(0).random((18, 128, 128, 1), np.float32)
    [outputs] = signature.keras_outputs(model, x).values()
    np.testing.assert_allclose(outputs, model(x), rtol=1e-5)

"""The outputs of a Keras model by name."""

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

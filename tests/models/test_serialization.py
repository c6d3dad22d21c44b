"""Models as bytes that do not depend on the time or on what else is in memory."""

import keras
import numpy as np
from keras import layers

from tfopt.models.serialization import keras_file


def built():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    net = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")], name="net")
    net.compile("sgd", "mse")
    return net


def test_models_that_are_built_alike_have_the_same_bytes(tmp_path):
    one, other = built(), built()  # both are alive: what their configs share has other addresses
    assert keras_file(one) == keras_file(other)
    file = tmp_path / "model.keras"
    file.write_bytes(keras_file(one))
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(keras.models.load_model(file)(x), one(x))

"""Fixtures of the tests of conversion."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo


@pytest.fixture(scope="session")
def built():
    """Models of the zoo by name with their samples, each built once."""
    kept = {}

    def get(name):
        if name not in kept:
            kept[name] = zoo.build(name)
        return kept[name]

    return get


@pytest.fixture
def pruned():
    """A convolution and a dense layer with four zeros among five weights; and samples."""
    keras.utils.set_random_seed(5)
    stack = [layers.Conv2D(8, 3, activation="relu", bias_initializer="ones"), layers.Flatten()]
    stack.append(layers.Dense(10, bias_initializer="ones"))
    model, samples = zoo.chain((6, 6, 4), *stack)
    for layer in (model.layers[0], model.layers[2]):
        kernel = layer.kernel.numpy()
        kernel[np.abs(kernel) < np.quantile(np.abs(kernel), 0.8)] = 0
        layer.kernel.assign(kernel)
    return model, samples


@pytest.fixture
def one_line():
    """The message of a caught error, which has to be one line."""

    def text(caught):
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        assert "Traceback" not in message
        return message

    return text

"""Fixtures of the tests of conversion."""

import tracemalloc

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tests.quantization.shared_conversions import Conversions


@pytest.fixture(scope="session")
def converted(built):
    """Conversions of the models of the zoo with their samples."""
    return Conversions(built)


@pytest.fixture(scope="session")
def converted_pruned(pruned):
    """Conversions of the pruned network, by mode."""
    convert = Conversions(lambda name: pruned)
    return lambda mode, **settings: convert("pruned", mode, **settings)


@pytest.fixture(scope="session")
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
def allocated():
    """The bytes that NumPy holds at most for the length of a call, after one that loads what is to be loaded."""

    def measured(function, *arguments):
        function(*arguments)
        tracemalloc.start()
        try:
            function(*arguments)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measured

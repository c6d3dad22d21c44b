"""Fixtures of the tests of conversion."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tfopt.quantization.conversion import finish, prepare, unroll_if_better
from tfopt.recipe.export import Export


@pytest.fixture(scope="session")
def converted(built):
    """What `convert_with_notes` gives for a model of the zoo and its samples, by mode and other settings.

    A model is converted to float once for all modes, which is what most of a conversion costs.
    """
    return sharing(built)


@pytest.fixture(scope="session")
def converted_pruned(pruned):
    """The same for the pruned network, by mode."""
    convert = sharing(lambda name: pruned)
    return lambda mode, **settings: convert("pruned", mode, **settings)


def sharing(models):
    """A function that converts models of these by name, each result kept."""
    prepared, finished = {}, {}

    def get(name, mode="int8", **settings):
        export = Export(mode=mode, **settings)
        key = name, export.model_dump_json()
        if key not in finished:
            floats = name, export.batch, export.sparse
            if floats not in prepared:
                prepared[floats] = prepare(models(name)[0], export, models(name)[1])
            ready = unroll_if_better(replace(prepared[floats], export=export))
            finished[key] = finish(ready, ready.quantized())
        return finished[key]

    return get


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

"""What a model does to its inputs before anything else, in words."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.models.preparation import preparation

SHAPE = (8, 8, 3)


def of(*stack, shape=SHAPE):
    model = keras.Sequential([layers.Input(shape, name="x"), *stack, layers.Flatten(), layers.Dense(2)])
    return preparation(model).get("x", ())


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ([layers.Rescaling(1 / 255)], ["divides by 255 (Rescaling)"]),
        ([layers.Rescaling(1 / 127.5, offset=-1)], ["divides by 127.5 and adds -1 (Rescaling)"]),
        ([layers.Rescaling(3.0)], ["multiplies by 3 (Rescaling)"]),
        (
            [layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 4.0, 9.0])],
            ["subtracts the mean (1, 2, 3) and divides by the standard deviation (2, 2, 3) (Normalization)"],
        ),
        (
            [layers.Resizing(4, 4), layers.Rescaling(1 / 255)],
            ["resizes to 4x4, bilinear (Resizing)", "divides by 255 (Rescaling)"],
        ),
        ([layers.RandomFlip(), layers.Rescaling(1 / 255)], ["divides by 255 (Rescaling)"]),
        ([keras.Sequential([layers.Input(SHAPE), layers.Rescaling(1 / 255)])], ["divides by 255 (Rescaling)"]),
        ([layers.Conv2D(2, 3), layers.Rescaling(1 / 255)], []),
    ],
    ids=["rescaling", "offset", "factor", "normalization", "two", "augmentation", "nested", "after-a-layer"],
)
def test_the_first_layers_are_told_in_order(stack, words):
    assert list(of(*stack)) == words


def test_the_statistics_of_an_adapted_normalization_are_told():
    layer = layers.Normalization(axis=None)
    layer.adapt(np.asarray([[0.0], [4.0]], np.float32))
    [words] = of(layer)
    assert words == "subtracts the mean 2 and divides by the standard deviation 2 (Normalization)"


def test_an_input_that_goes_two_ways_is_not_prepared():
    x = layers.Input((4,), name="x")
    both = layers.Concatenate()([layers.Rescaling(0.5)(x), x])
    assert preparation(keras.Model(x, layers.Dense(2)(both))) == {}


def test_of_a_model_whose_call_is_its_own_nothing_is_known():
    class Own(keras.Model):
        def call(self, x):
            return x

    assert preparation(Own()) == {}

"""Calibration samples of one class and near-copies: told where they are, and nothing else is taken for them."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.data.sources import load
from tfopt.errors import TfoptWarning
from tfopt.quantization.sample_variety import variety_warnings


def named(model, x):
    return variety_warnings(model, {model.inputs[0].name: x})


@pytest.fixture(scope="module")
def digits():
    """A net that knows digits, their images and their labels."""
    split = load("digits").train
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dense(10, "softmax")]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(split.x, split.y, epochs=4, verbose=0)
    return model, np.asarray(split.x).reshape(-1, 8, 8, 1), np.asarray(split.y)


def test_samples_of_one_class_are_told_and_those_of_two_are_not(digits):
    model, x, y = digits
    [sentence] = named(model, x[y == 3])
    assert re.search("to be of one class: the model gives class 3 to (9.|100)% of 64", sentence)
    assert named(model, x[(y == 3) | (y == 5)]) == ()
    assert named(model, x[np.argsort(y, kind="stable")]) == ()  # sorted, and looked at from the first to the last
    assert named(model, x[y == 3][:20]) == ()  # few samples tell nothing


def test_a_net_that_was_not_trained_says_nothing_of_classes(digits):
    _, x, y = digits
    model = keras.models.clone_model(digits[0])
    assert named(model, 255 * x[y == 3]) == ()


def test_convert_says_it_at_the_call(digits):
    model, x, y = digits
    with pytest.warns(TfoptWarning, match="of one class") as caught:
        tfopt.convert(model, "int8", x[y == 3])
    assert [one.filename for one in caught if one.category is TfoptWarning] == [__file__]


def frames(count, size, seed=0):
    """Pictures of one scene with the noise of a camera, or of as many scenes."""
    draw = np.random.default_rng(seed)
    scenes = draw.uniform(size=(count, size, size, 3))
    return (scenes + draw.normal(0, 0.005, (200 // count, count, size, size, 3))).reshape(-1, size, size, 3)


@pytest.mark.parametrize(("scenes", "told"), [(1, "1 is different"), (8, "8 are different"), (50, None)])
def test_frames_of_few_scenes_are_near_copies(scenes, told):
    inputs = layers.Input((12, 12, 3))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs))
    for x in (frames(scenes, 12), 255 * frames(scenes, 12)):
        found = named(model, x.astype(np.float32))
        assert [told in sentence for sentence in found] == ([True] if told else [])
    whole = np.clip(255 * frames(scenes, 12), 0, 255).round().astype(np.uint8)
    assert [told in sentence for sentence in named(model, whole)] == ([True] if told else [])


def offsets(draw):
    """Windows of two sensors, one of which hardly varies around a large value."""
    return np.stack([1013 + draw.normal(0, 0.1, (64, 50)), draw.normal(size=(64, 50))], axis=-1)


def sparse(draw):
    """A dot on black."""
    found = np.zeros((64, 16, 16, 1))
    found[np.arange(64), draw.integers(0, 16, 64), draw.integers(0, 16, 64)] = 1
    return found


VARIED = {
    "sensors": offsets,
    "dots": sparse,
    "words": lambda draw: draw.integers(0, 3, (64, 80)),
    "table": lambda draw: np.round(draw.normal(size=(64, 5))),
    "wide table": lambda draw: 1e6 + draw.normal(size=(64, 100)) * np.logspace(-3, 3, 100),
    "noise": lambda draw: draw.normal(size=(64, 40, 3)),
}


@pytest.mark.parametrize("name", VARIED)
def test_samples_that_differ_are_no_copies(name):
    x = VARIED[name](np.random.default_rng(0)).astype(np.float32)
    inputs = layers.Input(x.shape[1:])
    assert named(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs))), x) == ()

"""Small models of the kinds that have to be fed with care, and their files in every mode."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.deployment import usage
from tfopt.models.preparation import preparation


def senses():
    """Three inputs, one of ids and one with a name that is none in any language; three outputs of different kinds."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 1), name="image")
    sound = layers.Input((6,), name="sound-in")
    ids = layers.Input((3,), dtype="int32", name="class")
    seen = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(image)))
    heard = layers.Dense(8, activation="relu")(layers.Normalization(mean=2.0, variance=4.0)(sound))
    known = layers.Flatten()(layers.Embedding(7, 4)(ids))
    both = layers.Concatenate()([seen, heard, known])
    model = keras.Model(
        {"image": image, "sound-in": sound, "class": ids},
        {
            "digit": layers.Dense(10, activation="softmax", name="digit")(both),
            "image": layers.Dense(1, activation="sigmoid", name="image_out")(both),
            "level": layers.Dense(2, name="level")(both),
        },
    )
    generator = np.random.default_rng(0)
    return model, {
        "image": generator.uniform(0, 255, (40, 8, 8, 1)).astype(np.float32),
        "sound-in": generator.normal(2, 2, (40, 6)).astype(np.float32),
        "class": generator.integers(0, 7, (40, 3)).astype(np.int32),
    }


def digits():
    """An image in, ten classes out, as TFLM has all ops of."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="pixels"),
            layers.Rescaling(1 / 16),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    return model, {"pixels": np.random.default_rng(0).uniform(0, 16, (40, 8, 8, 1)).astype(np.float32)}


MODES = {
    "float32": {"mode": "float32"},
    "float16": {"mode": "float16"},
    "dynamic": {"mode": "dynamic"},
    "int8": {"mode": "int8"},
    "float-io": {"mode": "int8", "io": "float32"},
    "int16x8": {"mode": "int16x8"},
    "int4": {"mode": "int4", "least_snr_db": 0},
    "any-batch": {"mode": "int8", "batch": "any"},
}
build = functools.cache(lambda kind: {"senses": senses, "digits": digits}[kind]())


@functools.cache
def converted(kind, mode):
    """The file of a model in a mode."""
    model, x = build(kind)
    settings = dict(MODES[mode])
    return tfopt.convert(model, settings.pop("mode"), calibration=x, **settings)


@pytest.fixture
def made():
    """A function from a model and a mode to the file, its usage and samples."""

    def make(kind, mode):
        content = converted(kind, mode)
        model, x = build(kind)
        return content, usage(content, preparation(model)), x

    return make

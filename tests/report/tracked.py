"""What every tracker is told in its tests: a small run, and one that stops, goes on and is not accurate enough."""

import keras
from keras import layers

import tfopt
from tfopt.recipe.artifact import Artifact


def small_recipe(make_blobs):
    x, y = make_blobs()
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return tfopt.Recipe(
        name="blobs",
        model=model,
        data={"train": (x[:128], y[:128]), "validation": (x[128:192], y[128:192]), "test": (x[192:], y[192:])},
        stages=[tfopt.Train(epochs=2), tfopt.Quantize(name="int8", mode="int8"), tfopt.Verify(max_drop=0.9)],
    )


def begin(told, folder):
    told.started("mine", {"seed": 3, "train": {"epochs": 3, "only": None}}, "0a1b", folder)
    told.stage("train", "train", 1, 1)


def interrupt(told, folder):
    """One epoch, then Ctrl-C."""
    try:
        begin(told, folder)
        told.epoch(1, 3, {"loss": 2.0})
        raise KeyboardInterrupt
    finally:
        told.close()


def go_on_and_fail(told, folder):
    """The other epochs, one more of a second training in the same stage, and an accuracy check that is not met."""
    begin(told, folder)
    for epoch in (2, 3, 1):
        told.epoch(epoch, 3, {"loss": 1.0})
    told.finished(
        {"train": Artifact("train", "train", folder, "model.keras", "keras", "k", failed="accuracy is less.")}
    )
    told.close()

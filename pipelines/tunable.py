"""The model of tune.yaml: a function of keras-tuner's hyperparameters."""

import keras
from keras import layers


def build(hp):
    """A small convolutional net for the 8x8 digits, as wide and as deep as `hp` says."""
    stack = [layers.Input((8, 8, 1))]
    for depth in range(hp.Int("convolutions", 1, 2)):
        filters = hp.Int(f"filters_{depth}", 8, 32, step=8)
        stack.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
    stack += [layers.MaxPooling2D(), layers.Flatten()]
    if hp.Boolean("dropout"):
        stack.append(layers.Dropout(0.25))
    stack += [
        layers.Dense(hp.Choice("units", [16, 32, 64]), activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(stack)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

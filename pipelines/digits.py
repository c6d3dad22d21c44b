"""The model of digits.yaml: a small convolutional network for 8x8 images."""

import keras
from keras import layers


def build() -> keras.Model:
    """A compiled, untrained model: images `(8, 8, 1)` of 0-1 in, ten class probabilities out."""
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="digits",
    )
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

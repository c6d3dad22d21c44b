"""The nets and the data of lenet_300_100.yaml and lenet_5.yaml: those of the Deep Compression paper, on MNIST."""

import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

VALIDATION = 2000


def lenet_300_100() -> keras.Model:
    """An untrained LeNet-300-100 of 266,610 parameters: `(784,)` of 0-1 in, ten probabilities out.

    References:
        LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 86 (1998).
    """
    return keras.Sequential(
        [
            layers.Input((784,)),
            layers.Dense(300, activation="relu"),
            layers.Dense(100, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="lenet_300_100",
    )


def lenet_5() -> keras.Model:
    """An untrained LeNet-5 of 431,080 parameters, as Caffe has it: `(28, 28, 1)` of 0-1 in, ten probabilities out."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(20, 5),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="lenet_5",
    )


def images() -> dict:
    """MNIST as images of 0-1, each training batch shifted by up to a pixel; the last 2,000 training samples validate.

    It is downloaded once (11 MB), or read from the folder that TFOPT_DATA names.
    """
    if folder := os.environ.get("TFOPT_DATA"):
        with np.load(Path(folder) / "mnist.npz") as file:
            train, test = [(file[f"x_{s}"], file[f"y_{s}"]) for s in ("train", "test")]
    else:
        train, test = keras.datasets.mnist.load_data()
    x, x_test = [(part[0][..., None] / 255).astype(np.float32) for part in (train, test)]
    y, y_test = [part[1].astype(np.int32) for part in (train, test)]
    return {
        "x_train": x[:-VALIDATION],
        "y_train": y[:-VALIDATION],
        "x_validation": x[-VALIDATION:],
        "y_validation": y[-VALIDATION:],
        "x_test": x_test,
        "y_test": y_test,
        "augment": shift,
    }


def vectors() -> dict:
    """The same as vectors of 784 values."""
    data = images()
    return {name: v.reshape(len(v), -1) if name.startswith("x_") else v for name, v in data.items()}


def shift(x, y, seed, reach: int = 1):
    """Every image moved by up to `reach` pixels in both directions, zeros coming in: `(x, y)` of the same shapes."""
    images = tf.pad(tf.reshape(x, [-1, 28, 28]), [[0, 0], [reach, reach], [reach, reach]])
    by = tf.random.stateless_uniform([tf.shape(images)[0], 2], seed, 0, 2 * reach + 1, tf.int32)
    rows = by[:, :1] + tf.range(28)
    columns = by[:, 1:] + tf.range(28)
    moved = tf.gather(tf.gather(images, rows, batch_dims=1), columns, axis=2, batch_dims=1)
    return tf.reshape(moved, tf.shape(x)), y

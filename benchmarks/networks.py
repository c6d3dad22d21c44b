"""Networks that several benchmarks use: those of MLPerf Tiny with random weights, and LeNet-5."""

import keras
from keras import layers


def resnet_8():
    """Image classification: https://github.com/mlcommons/tiny."""
    x = inputs = layers.Input((32, 32, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(x)))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 3, strides, padding="same")(x)))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        x = x if strides == 1 else layers.Conv2D(filters, 1, strides, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def ds_cnn(shape=(49, 10, 1), classes=12):
    """Keyword spotting on 49 x 10 coefficients."""
    x = inputs = layers.Input(shape)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, (10, 4), 2, padding="same")(x)))
    for _ in range(4):
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, 1)(x)))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def mobilenet_v1():
    """Visual wake words: a quarter of the channels at 96 x 96."""
    return keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=2)


def autoencoder():
    """Anomaly detection on 640 values."""
    x = inputs = layers.Input((640,))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(units)(x)))
    return keras.Model(inputs, layers.Dense(640)(x))


def wake_word():
    """Streaming wake word on 30 frames of 40 values: the word, another one, or none."""
    x = inputs = layers.Input((30, 1, 40))
    for filters, frames in ((128, 3), (64, 5), (64, 10), (32, 15)):
        x = layers.Conv2D(filters, 1, use_bias=False)(layers.DepthwiseConv2D((frames, 1), use_bias=False)(x))
        x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))


def lenet_5():
    """LeCun et al. 1998, as most texts give it today."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def settle(model, x):
    """Fits the statistics of every BatchNormalization to samples, so that outputs of random weights say something."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)
    return model


NETWORKS = {f.__name__: f for f in (resnet_8, ds_cnn, mobilenet_v1, autoencoder, lenet_5)}

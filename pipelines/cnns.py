"""The nets of vgg_channels.yaml and resnet_channels.yaml: small ones of two well-known kinds, for MNIST."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import layers


def vgg(widths: Iterable[int] = (32, 64, 128)) -> keras.Model:
    """An untrained net of the VGG kind for images of 0-255: two convolutions to a stage, halved in size after each.

    Args:
        widths: The channels of each stage.

    References:
        Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, arXiv:1409.1556.
    """
    inputs = layers.Input((28, 28, 1))
    x: Any = layers.Rescaling(1 / 255)(inputs)
    for width in widths:
        x = _block(_block(x, width), width)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="vgg")


def resnet(widths: Iterable[int] = (32, 64, 128)) -> keras.Model:
    """An untrained net of the ResNet kind for images of 0-255: two residual blocks to a stage.

    Args:
        widths: The channels of each stage.

    References:
        He et al., Deep residual learning for image recognition, arXiv:1512.03385.
    """
    inputs = layers.Input((28, 28, 1))
    x = _block(layers.Rescaling(1 / 255)(inputs), 32)
    for stage, width in enumerate(widths):
        for block in range(2):
            strides = 2 if stage and not block else 1
            shortcut = x if not (strides > 1 or x.shape[-1] != width) else _convolution(x, width, 1, strides)
            inner = _convolution(_block(x, width, strides), width)
            x = layers.ReLU()(layers.Add()([inner, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="resnet")


def _convolution(x: Any, width: int, size: int = 3, strides: int = 1) -> Any:
    x = layers.Conv2D(width, size, strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def _block(x: Any, width: int, strides: int = 1) -> Any:
    return layers.ReLU()(_convolution(x, width, strides=strides))

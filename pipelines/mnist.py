"""The model of mnist.yaml: LeNet-5 as Caffe has it, the net of the pruning literature."""

import keras
from keras import layers


def lenet5() -> keras.Model:
    """An untrained LeNet-5 of 431,080 parameters: images `(28, 28, 1)` of 0-255 in, ten probabilities out.

    References:
        LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 86 (1998).
    """
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(20, 5),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        name="lenet5",
    )

"""A model that Keras never calls built: it has a training step of its own, and no call."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Pair(keras.Model):
    """Two models, one behind the other, of 8 inputs and 8 outputs."""

    def __init__(self):
        super().__init__()
        self.one = keras.Sequential([layers.Input((8,)), layers.Dense(16)])
        self.two = keras.Sequential([layers.Input((16,)), layers.Dense(8)])

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.two(self.one(data)) - data) ** 2)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def trained_pair(callback):
    """A pair, trained for two epochs with the callback."""
    model = Pair()
    model.compile("adam")
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    model.fit(x, epochs=2, verbose=0, callbacks=[callback])
    assert not model.built
    return model

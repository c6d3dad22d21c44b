"""Ops in the name scopes of the layers that compute them."""

import keras
import pytest
import tensorflow as tf
from keras import layers

from tfopt.quantization.name_scopes import scoped


class Outer(layers.Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return tf.exp(self.inner(x))


def traced(layer):
    return tf.function(lambda x: layer(x)).get_concrete_function(tf.TensorSpec((1, 2))).graph


def test_ops_are_named_after_the_number_of_the_innermost_layer():
    inner = layers.Activation("tanh")
    outer = Outer(inner)
    outer(tf.zeros((1, 2)))
    with scoped([outer, inner], "part"):
        names = {op.type: op.name for op in traced(outer).get_operations()}
    assert names["Exp"].startswith("part.0/")
    assert names["Tanh"].startswith("part.1/")
    assert "call" not in vars(outer)
    assert "call" not in vars(inner)


def test_what_raises_is_told_the_innermost_first_and_raised():
    class Refuses(layers.Layer):
        def call(self, x):
            raise KeyError("no")

    failing, inner = [], Refuses()
    outer = Outer(inner)
    with scoped([outer, inner], "part", failing.append), pytest.raises(KeyError):
        outer.call(keras.ops.zeros((1, 2)))
    assert failing == [1, 0]

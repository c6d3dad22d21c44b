"""Nets of four classes for 8x8 images, one for each kind of layer that training knows the quantization of."""

import keras
import numpy as np
from keras import layers

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _logits(x):
    return layers.Dense(4, name="head")(layers.Flatten()(x) if len(x.shape) > 2 else x)


def _images(body):
    inputs = layers.Input((8, 8, 1))
    return keras.Model(inputs, _logits(body(inputs)))


def _rows(body):
    inputs = layers.Input((8, 8, 1))
    return keras.Model(inputs, _logits(body(layers.Reshape((8, 8))(inputs))))


def folded():
    """The smallest net with a batch normalization that its file folds into a convolution."""
    return _images(lambda x: layers.ReLU(6)(layers.BatchNormalization()(layers.Conv2D(2, 3, use_bias=False)(x))))


def _conv_bn(x):
    for filters in (4, 6):
        x = layers.ReLU(6)(layers.BatchNormalization()(layers.Conv2D(filters, 3, use_bias=False)(x)))
    return x


def _depthwise(x):
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    return layers.SeparableConv2D(4, 3, padding="same", activation="relu6")(layers.ReLU()(x))


def _add_concatenate(x):
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.Add()([x, y])
    x = layers.Concatenate()([x, layers.Conv2D(2, 1)(y)])
    return x + layers.Conv2D(6, 1)(x)


def _pooling(x):
    x = layers.MaxPooling2D(2)(layers.Conv2D(6, 3, padding="same", activation="relu")(x))
    return layers.GlobalAveragePooling2D()(layers.AveragePooling2D(2)(x))


def _activations(x):
    x = layers.Conv2D(6, 3, strides=2)(x)
    for name in ("swish", "gelu", "leaky_relu", "sigmoid", "tanh", "softmax"):
        x = layers.Dense(6)(layers.Activation(name)(x))
    return x


def _attention(x):
    x = layers.Dense(8)(x)
    y = layers.MultiHeadAttention(2, 4)(x, x)
    return layers.LayerNormalization()(x + y)


def _embedding():
    inputs = layers.Input((8,), dtype="int32")
    return keras.Model(inputs, _logits(layers.Embedding(16, 6)(inputs)))


def masked(recurrent, steps=8):
    """Words of which the last are 0 in most texts."""
    inputs = layers.Input((steps,), dtype="int32")
    return keras.Model(inputs, _logits(recurrent(layers.Embedding(16, 6, mask_zero=True)(inputs))))


def _nested(x):
    inner = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization()], name="inner")
    return layers.ReLU()(inner(x))


class Block(layers.Layer):
    """A layer of somebody's own, with layers and arithmetic inside."""

    def build(self, shape):
        self.dense = layers.Dense(shape[-1])
        self.dense.build(shape)

    def call(self, x):
        return keras.ops.relu(self.dense(x)) * 0.5 + x


class Subclassed(keras.Model):
    """A model of somebody's own."""

    def __init__(self, **rest):
        super().__init__(**rest)
        self.conv, self.norm, self.head = layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Dense(4)

    def call(self, x, training=None):
        x = keras.ops.relu(self.norm(self.conv(x), training=training))
        return self.head(keras.ops.reshape(x, (-1, 144)))


def _subclassed():
    model = Subclassed()
    model.build((None, 8, 8, 1))
    model(keras.ops.zeros((1, 8, 8, 1)))
    return model


def _mixed(x):
    x = layers.ReLU(6)(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(x)))
    x = layers.AveragePooling2D(2)(layers.MaxPooling2D(2)(x))
    return Block()(layers.Dense(8)(layers.Flatten()(x)))


NETS = {
    "mixed": lambda: _images(_mixed),
    "dense": lambda: _rows(lambda x: layers.Dense(8, activation="relu")(layers.Flatten()(x))),
    "einsum": lambda: _rows(lambda x: layers.EinsumDense("abc,cd->abd", (8, 6), bias_axes="d")(x)),
    "conv1d": lambda: _rows(lambda x: layers.Conv1DTranspose(4, 3)(layers.Conv1D(6, 3, activation="relu")(x))),
    "conv_bn": lambda: _images(_conv_bn),
    "transpose": lambda: _images(lambda x: layers.Conv2DTranspose(3, 2, strides=2)(layers.Conv2D(4, 3, strides=2)(x))),
    "depthwise": lambda: _images(_depthwise),
    "conv3d": lambda: _images(lambda x: layers.Conv3D(3, (3, 3, 1))(layers.Reshape((8, 8, 1, 1))(x))),
    "add_concatenate": lambda: _images(_add_concatenate),
    "pooling": lambda: _images(_pooling),
    "activations": lambda: _images(_activations),
    "embedding": _embedding,
    "layer_norm": lambda: _rows(lambda x: layers.LayerNormalization()(layers.Dense(8)(x))),
    "attention": lambda: _rows(_attention),
    "lstm": lambda: _rows(lambda x: layers.LSTM(8)(x)),
    "masked_lstm": lambda: masked(layers.LSTM(8)),
    "masked_gru": lambda: masked(layers.GRU(6)),
    "gru": lambda: _rows(lambda x: layers.Bidirectional(layers.GRU(6))(x)),
    "nested": lambda: _images(_nested),
    "own_layer": lambda: _rows(lambda x: Block()(layers.Dense(8)(x))),
    "subclassed": _subclassed,
}


def compiled(net, optimizer="sgd", **rest):
    """A model, or the net of that name, ready to train."""
    model = NETS[net]() if isinstance(net, str) else net
    model.compile(optimizer, LOSS, jit_compile=False, **rest)
    return model


def inputs_for(name, x):
    """Samples for the net of that name, made of images `(samples, 8, 8, 1)`."""
    if name not in ("embedding", "masked_lstm", "masked_gru"):
        return x
    words = np.clip(x[:, :, 0, 0] * 4 + 4, 1, 15).astype(np.int32)
    if name != "embedding":
        ends = np.random.default_rng(0).integers(4, 9, len(words))
        words[np.arange(8) >= ends[:, None]] = 0
    return words

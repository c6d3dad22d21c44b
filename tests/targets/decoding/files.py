"""Files for decoding: one with kernels of every kind, and kernels to put in their places."""

import keras
import numpy as np
from keras import layers

from tfopt.quantization import convert
from tfopt.targets.decoding import stored_kernels
from tfopt.tflite import flatbuffer

rng = np.random.default_rng(0)


def samples(count=6):
    return np.random.default_rng(1).normal(size=(count, 6, 6, 4)).astype(np.float32)


def network():
    """Every op with a kernel that can be decoded, each with an output of its own; one layer used twice; one unit."""
    keras.utils.set_random_seed(2)
    image = layers.Input((6, 6, 4), name="image")
    flat, twice = layers.Flatten()(image), layers.Dense(8, name="twice")
    outputs = [
        layers.Conv2D(16, 3, padding="same", name="conv")(image),
        layers.DepthwiseConv2D(3, padding="same", name="depthwise")(image),
        layers.Conv2DTranspose(24, 2, name="transposed")(image),
        twice(flat),
        twice(layers.Flatten()(layers.ReLU()(image))),
        *(layers.Dense(units, name=name)(flat) for name, units in (("wide", 40), ("one", 1), ("scores", 5))),
    ]
    return keras.Model(image, outputs)


def file(mode="int8", **settings):
    """The network in a mode."""
    least = {} if mode == "float32" else {"least_snr_db": -100.0}
    return convert(network(), mode, samples(), **least, **settings)


def with_values(content, values):
    """The file with other values in its kernels, `values(number, shape)` for each of them, in the order of the file."""
    model = flatbuffer.parse(content)
    for number, found in enumerate(stored_kernels.find(model)):
        old = found.kernel.values
        new = np.asarray(values(number, old.shape)).astype(old.dtype)
        model.buffers[found.buffer].data = np.frombuffer(new.tobytes(), np.uint8)
    return flatbuffer.pack(model)


def odd_values(number, shape):
    """Kernels at the ends of what codings hold, one kind after the other."""
    size = int(np.prod(shape))
    kinds = (
        np.full(size, -3),
        np.zeros(size),
        np.arange(size) % 128 - 64,
        rng.integers(-127, 128, size) * (rng.random(size) < 0.1),
        rng.choice([-90, 0, 0, 0, 45], size),
        rng.integers(-127, 128, size),
    )
    return kinds[number % len(kinds)].reshape(shape)


def sparse_values(number, shape):
    """80% zeros, and 15 values besides."""
    return rng.integers(-7, 8, shape) * 9 * (rng.random(shape) < 0.2)

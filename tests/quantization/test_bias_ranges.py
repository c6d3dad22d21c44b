"""Channels that pruning left empty: what their biases come to in an integer file."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tests.quantization.shared_conversions import Conversions
from tfopt import convert
from tfopt.callbacks import MagnitudePruning
from tfopt.quantization.bias_ranges import kernel_ranges
from tfopt.quantization.float_conversion import to_float
from tfopt.tflite.file import parse, read

LAYERS = {
    "dense": ((12,), lambda: layers.Dense(8, name="cut", bias_initializer="normal")),
    "conv": ((6, 6, 3), lambda: layers.Conv2D(8, 3, name="cut", bias_initializer="normal")),
    "depthwise": ((6, 6, 8), lambda: layers.DepthwiseConv2D(3, name="cut", bias_initializer="normal")),
    "transposed": ((6, 6, 3), lambda: layers.Conv2DTranspose(8, 3, name="cut", bias_initializer="normal")),
}


def with_empty_channels(kind, tiny=0.0):
    """A layer of eight channels, three of which have no weights (or tiny ones) and a bias; and samples."""
    shape, build = LAYERS[kind]
    model, samples = zoo.chain(shape, build(), layers.Flatten(), layers.Dense(4))
    layer = model.get_layer("cut")
    kernel = layer.kernel.numpy()
    axis = {"depthwise": 2, "transposed": 2}.get(kind, kernel.ndim - 1)
    np.moveaxis(kernel, axis, 0)[:3] *= tiny
    layer.kernel.assign(kernel)
    layer.bias.assign(np.linspace(-0.5, 0.75, 8))
    return model, samples


def largest_bias(content):
    _, parsed = parse(content)
    wide = {2: np.int32, 4: np.int64}  # the schema's numbers of these types
    arrays = [
        np.frombuffer(bytes(bytearray(parsed.buffers[tensor.buffer].data)), wide[tensor.type])
        for tensor in parsed.subgraphs[0].tensors
        if tensor.type in wide and len(tensor.shape) == 1 and tensor.quantization is not None
        if tensor.quantization.scale is not None and parsed.buffers[tensor.buffer].data is not None
    ]
    return max(int(np.abs(array.astype(np.int64)).max()) for array in arrays)


@pytest.fixture(scope="module")
def emptied():
    """The models `with_empty_channels` by kind and size of their tiny weights, and conversions of them."""
    models = functools.cache(lambda key: with_empty_channels(*key))
    return models, Conversions(models)


@pytest.mark.parametrize("tiny", [0.0, 1e-12])
@pytest.mark.parametrize("mode", ["int8", "int16x8"])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.sample(7)
def test_a_channel_without_weights_keeps_its_bias(emptied, kind, mode, tiny):
    models, converted = emptied
    content = converted((kind, tiny), mode).content
    assert zoo.error(content, *models((kind, tiny))) < (0.02 if mode == "int8" else 0.01)
    assert largest_bias(content) <= 2**30


def test_a_transposed_convolution_that_computes_the_shape_of_its_output_keeps_its_bias():
    model, samples = with_empty_channels("transposed")
    content = convert(model, "int8", samples, batch="any")
    assert "SHAPE" in [op.name for op in read(content).ops]
    assert zoo.error(content, model, samples) < 0.02
    assert largest_bias(content) <= 2**30


def test_one_scale_for_a_whole_kernel_leaves_room_too():
    model, samples = with_empty_channels("dense", tiny=1e-12)
    layer = model.get_layer("cut")
    layer.kernel.assign(layer.kernel * 1e-12)
    content = convert(model, "int8", samples, scales="tensor")
    assert zoo.error(content, model, samples) < 0.02


def test_kernels_with_room_keep_the_ranges_of_their_weights():
    model, _ = zoo.chain((12,), layers.Dense(8, bias_initializer="normal"), layers.Dense(4))
    source = to_float(model)
    ranges = {t.name: {"min": np.float32(-4), "max": np.float32(4)} for op in source.ops for t in op.inputs}
    assert kernel_ranges(source, ranges, set()) == {}


def test_a_pruned_network_is_as_exact_in_int8_as_the_dense_one(blobs):
    keras.utils.set_random_seed(6)
    stack = [layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(32, activation="relu")]
    model = keras.Sequential([layers.Input((8, 8, 1)), *stack, layers.Dense(4)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*blobs, epochs=3, verbose=0)
    dense = zoo.error(convert(model, "int8", blobs[0]), model, blobs[0])
    model.fit(*blobs, epochs=3, verbose=0, callbacks=[MagnitudePruning(0.95)])
    empty = [int((np.abs(w).reshape(-1, w.shape[-1]).sum(0) == 0).sum()) for w in model.get_weights() if w.ndim > 1]
    assert sum(empty) > 0, "nothing to test"
    assert zoo.error(convert(model, "int8", blobs[0]), model, blobs[0]) < 2 * dense

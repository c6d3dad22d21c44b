"""Clustered kernels behind batch normalizations: as many values in a file as in the model."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tfopt
from tfopt.quantization.codebook_ranges import codebook_ranges
from tfopt.quantization.float_conversion import to_float
from tfopt.tflite.file import is_codebook, read

BOOK = np.float32([-0.9, -0.5, -0.3, -0.1, 0, 0.2, 0.4, 0.7])
KINDS = {
    "conv": ((6, 6, 2), lambda: layers.Conv2D(12, 3, use_bias=False, name="of")),
    "depthwise": ((6, 6, 12), lambda: layers.DepthwiseConv2D(3, use_bias=False, name="of")),
    "transposed": ((6, 6, 2), lambda: layers.Conv2DTranspose(12, 3, use_bias=False, name="of")),
    "pointwise": ((6, 6, 4), lambda: layers.SeparableConv2D(12, 3, use_bias=False, name="of")),
    "series": ((9, 3), lambda: layers.Conv1D(12, 3, use_bias=False, name="of")),
    "dense": ((10,), lambda: layers.Dense(12, use_bias=False, name="of")),
}


def clustered(kind="conv", scales=None, book=BOOK):
    """A layer of kernels of few values, then a batch normalization as training leaves it; and samples."""
    shape, build = KINDS[kind]
    generator = np.random.default_rng(3)
    tail = [layers.ReLU(), *([layers.Flatten()] if len(shape) > 1 else []), layers.Dense(4, name="head")]
    model = keras.Sequential([layers.Input(shape), build(), layers.BatchNormalization(name="norm"), *tail])
    for weight in model.get_layer("of").weights:
        weight.assign(generator.choice(book, weight.shape))
    norm = model.get_layer("norm")
    norm.gamma.assign(generator.uniform(0.5, 2, 12) if scales is None else scales)
    norm.moving_variance.assign(generator.uniform(0.3, 3, 12))
    norm.beta.assign(generator.uniform(-1, 1, 12))
    return model, generator.normal(size=(40, *shape)).astype(np.float32)


def kernels(content):
    return [kernel for op in read(content).ops for kernel in op.kernels][:-1]  # without the head's


@pytest.mark.parametrize("mode", ["int8", "int16x8", "int4", "dynamic", "weight_only"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.sample(10)
def test_a_file_has_as_many_values_as_the_kernel(kind, mode):
    model, x = clustered(kind)
    made = kernels(tfopt.convert(model, mode, calibration=x, slim=False))
    assert made[-1].distinct == len(BOOK)
    assert made[-1].scales == 12
    assert all(kernel.distinct <= len(BOOK) for kernel in made)


def test_every_channel_has_the_integers_of_the_whole_kernel():
    model, x = clustered()
    weights = model.get_layer("of").kernel.numpy()
    interpreter = Interpreter(model_content=tfopt.convert(model, "int8", calibration=x))
    interpreter.allocate_tensors()
    [stored] = [t for t in interpreter.get_tensor_details() if list(t["shape"]) == [12, 3, 3, 2]]
    expected = np.round(weights / (np.abs(weights).max() / 127)).astype(np.int8)
    np.testing.assert_array_equal(interpreter.get_tensor(stored["index"]), np.moveaxis(expected, -1, 0))
    norm = model.get_layer("norm")
    factors = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    steps = stored["quantization_parameters"]["scales"]
    np.testing.assert_allclose(steps, np.abs(weights).max() / 127 * factors, rtol=1e-5)


def test_negative_factors_mirror_the_integers_of_their_channels():
    model, x = clustered(scales=np.where(np.arange(12) % 2, 1.0, -1.0) * np.linspace(0.5, 2, 12))
    [kernel] = kernels(tfopt.convert(model, "int8", calibration=x))
    assert kernel.distinct == 2 * len(BOOK) - 1  # zero is its own mirror image
    assert kernel.scales == 12


def test_kernels_without_factors_and_without_few_values_are_left_alone():
    model, x = clustered(scales=np.ones(12))
    model.get_layer("norm").moving_variance.assign(np.ones(12))
    assert codebook_ranges(to_float(model, x)) == {}
    [kernel] = kernels(tfopt.convert(model, "int8", calibration=x))
    assert (kernel.distinct, kernel.scales) == (len(BOOK), 1)
    model, x = clustered(book=np.random.default_rng(0).normal(size=4000).astype(np.float32))
    assert codebook_ranges(to_float(model, x)) == {}
    assert tfopt.convert(model, "int8", calibration=x) == tfopt.convert(model, "int8", calibration=x, scales="channel")


@pytest.mark.parametrize("ranges", ["moving_average", "learned"])
@pytest.mark.sample(1)
def test_training_for_quantization_and_its_file_keep_the_number_too(ranges):
    model, x = clustered()
    model.compile("sgd", "mse")
    aware = tfopt.callbacks.QuantizationAware(x, ranges=ranges)
    model.fit(x, np.ones((40, 4)), batch_size=10, verbose=0, callbacks=[aware])
    assert np.unique(model.get_layer("of").kernel).size == len(BOOK)
    for content in (aware.convert().content, tfopt.convert(model, "int8", calibration=x)):
        assert kernels(content)[0].distinct == len(BOOK)


def test_a_small_kernel_of_many_values_keeps_its_number():
    """Three channels of nine weights hardly repeat 16 values."""
    generator = np.random.default_rng(1)
    conv = layers.Conv2D(3, 3, use_bias=False, name="of")
    model = keras.Sequential([layers.Input((6, 6, 1)), conv, layers.Flatten(), layers.Dense(2)])
    book = np.linspace(-1, 1, 16).astype(np.float32)
    weights = generator.permutation(np.resize(book, 27)).reshape(3, 3, 1, 3)
    model.get_layer("of").kernel.assign(weights)
    model.compile("sgd", "mse")
    x = generator.normal(size=(40, 6, 6, 1)).astype(np.float32)
    aware = tfopt.callbacks.QuantizationAware(x)
    model.fit(x, np.ones((40, 2)), batch_size=10, verbose=0, callbacks=[aware])
    assert np.unique(model.get_layer("of").kernel).size == 16
    assert kernels(aware.convert().content)[0].distinct <= 16
    assert kernels(tfopt.convert(model, "int8", calibration=x))[0].distinct <= 16


@pytest.mark.parametrize(
    ("values", "weights", "few"),
    [(16, 32, True), (16, 27, True), (16, 20, True), (19, 20, False), (100, 128, True), (100, 150, False)],
)
def test_what_counts_as_few_values(values, weights, few):
    assert is_codebook(values, weights) is few


@pytest.mark.parametrize("scales", ["auto", "tensor"])
def test_a_depthwise_kernel_on_float_activations_has_equal_scales_for_all_channels(scales):
    """With a single one LiteRT reads what lies behind it in memory."""
    model, x = clustered("pointwise", scales=np.ones(12))
    depthwise, pointwise = kernels(tfopt.convert(model, "dynamic", calibration=x, scales=scales))
    assert (depthwise.distinct, depthwise.scales) == (len(BOOK), 4)
    assert pointwise.scales == (12 if scales == "auto" else 1)
    assert kernels(tfopt.convert(model, "int8", calibration=x, scales=scales))[0].scales == 1

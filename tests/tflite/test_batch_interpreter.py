"""Many samples at once give what one at a time gives."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization.shared_conversions import Conversions
from tfopt.errors import DataError
from tfopt.tflite import batch_interpreter, flatbuffer, interpreter
from tfopt.tflite.batch_interpreter import BatchInterpreter
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner
from tfopt.tflite.open_batch import largest_activation, with_open_batch


def chain(shape, *parts):
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input(shape), *parts])


def two_sided():
    b, a = layers.Input((2,), name="b"), layers.Input((3, 4), name="a")
    flat = layers.Flatten()(layers.Conv1D(3, 2, activation="relu")(a))
    joined = layers.Concatenate()([flat, b])
    return keras.Model([b, a], {"y": layers.Dense(4, name="y")(joined), "z": layers.Dense(1, name="z")(b)})


def attention():
    x = layers.Input((6, 8))
    mixed = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(mixed)))


MODELS = {
    "convolution": lambda: chain((8, 8, 1), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)),
    "dense": lambda: chain((6,), layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")),
    "pooling": lambda: chain((8, 8, 2), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)),
    "reshape": lambda: chain((12,), layers.Reshape((3, 4)), layers.Conv1D(4, 2), layers.Flatten(), layers.Dense(2)),
    "lstm": lambda: chain((5, 3), layers.LSTM(4), layers.Dense(2)),
    "gru": lambda: chain((5, 3), layers.GRU(4), layers.Dense(2)),
    "stacked": lambda: chain((5, 3), layers.LSTM(4, return_sequences=True), layers.GRU(3), layers.Dense(2)),
    "sequence": lambda: chain((5, 3), layers.GRU(4, return_sequences=True), layers.Dense(2)),
    "both ways": lambda: chain((5, 3), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)),
    "attention": attention,
    "two inputs": two_sided,
}


MODES_RUN = ("float32", "int8")


@functools.cache
def built(name):
    return MODELS[name]()


def samples(model, count):
    generator = np.random.default_rng(1)
    return {t.name: generator.normal(size=(count, *t.shape[1:])).astype(np.float32) for t in model.inputs}


@pytest.fixture(scope="module")
def converted():
    """Conversions of the models."""
    return Conversions(lambda name: (built(name), samples(built(name), 50)))


@pytest.mark.parametrize("mode", ["float32", "int8"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.sample(5)
def test_the_outputs_are_those_of_one_sample_at_a_time(converted, name, mode):
    x = samples(built(name), 300)
    content = converted(name, mode).content
    expected, found = Runner(content)(x), BatchInterpreter(content)(x)
    assert list(found) == list(expected)
    for output, values in expected.items():
        assert found[output].shape == values.shape
        if mode == "int8":
            np.testing.assert_array_equal(found[output], values)
        np.testing.assert_allclose(found[output], values, rtol=1e-5, atol=1e-6 * np.abs(values).max())


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_any_number_of_samples_by_any_number_of_interpreters(converted, count):
    x = samples(built("convolution"), count)
    content = converted("convolution").content
    expected = Runner(content)(x)
    for workers in (1, 3):
        for output, values in BatchInterpreter(content, workers)(x).items():
            np.testing.assert_array_equal(values, expected[output])


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, mode) for name in ("convolution", "reshape", "lstm", "gru", "attention") for mode in MODES_RUN),
        ("stacked", "int8"),  # in float it is a loop that writes all its steps
        ("sequence", "int8"),
    ],
)
def test_reshapes_of_a_batch_of_one_no_longer_stand_in_the_way(converted, name, mode):
    """Those of recurrent layers too, where the batch is not the first dimension."""
    run = BatchInterpreter(converted(name, mode).content)
    run(samples(built(name), 300))
    assert run._runs[0].width > 1


def test_the_batch_is_as_wide_as_its_activations_fit_a_cache():
    for largest, width in ((1, 128), (1 << 13, 64), (1 << 14, 32), (1 << 20, 8)):
        assert batch_interpreter._width(largest) == width


def test_the_largest_activation_is_found_among_those_of_one_sample(converted):
    """Of the images, 8x8 numbers of a byte; and of the maps, 6x6 numbers of 4 channels."""
    assert largest_activation(flatbuffer.parse(converted("convolution", "int8").content)) == 6 * 6 * 4
    assert largest_activation(flatbuffer.parse(converted("convolution", "float32").content)) == 6 * 6 * 4 * 4


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_inputs_are_quantized_in_parts_as_they_would_be_at_once(dtype, monkeypatch):
    detail = {"dtype": np.int8, "quantization": (0.05, -3), "shape_signature": (1, 7, 5)}
    x = (np.random.default_rng(0).normal(size=(23, 7, 5)) * 5).astype(dtype)
    monkeypatch.setattr(interpreter, "CACHED_NUMBERS", 80)
    found = interpreter.quantize_samples(x, {"x": detail})["x"]
    expected = np.clip(np.round(x / np.float32(0.05)) - 3, -128, 127).astype(np.int8)
    np.testing.assert_array_equal(found, expected)


def test_reshapes_of_an_old_file_are_opened_too(converted):
    """Its op codes stand in the deprecated field alone."""
    x = samples(built("reshape"), 300)
    parsed = flatbuffer.parse(converted("reshape").content)
    for code in parsed.operatorCodes:
        code.builtinCode = 0
    old = flatbuffer.pack(parsed)
    opened = read(with_open_batch(flatbuffer.parse(old)))
    numbers = [i for i, op in enumerate(opened.ops) if op.name == "RESHAPE"]
    parsed = flatbuffer.parse(opened.content)
    graph = parsed.subgraphs[0]
    buffers = [graph.tensors[graph.operators[i].inputs[1]].buffer for i in numbers]
    shapes = [np.frombuffer(bytes(parsed.buffers[buffer].data), np.int32) for buffer in buffers]
    assert len(shapes) >= 2
    assert all(shape[0] == -1 for shape in shapes)
    for output, values in BatchInterpreter(old)(x).items():
        np.testing.assert_array_equal(values, Runner(old)(x)[output])


def test_a_file_whose_samples_are_not_independent_at_once_is_run_one_by_one(converted, monkeypatch):
    """Where several at once come to something else, nothing of it is used."""
    x = samples(built("dense"), 300)
    content = converted("dense").content
    expected = Runner(content)(x)
    own = batch_interpreter._tried

    def strayed(*args):
        run, found = own(*args)
        return run, {name: values + 1 for name, values in found.items()}

    monkeypatch.setattr(batch_interpreter, "_tried", strayed)
    run = BatchInterpreter(content)
    for output, values in run(x).items():
        np.testing.assert_array_equal(values, expected[output])
    assert run._runs[0].width == 1


def test_inputs_that_do_not_fit_are_refused_as_by_one_at_a_time(converted):
    content = converted("dense", "float32").content
    with pytest.raises(DataError, match=r"shape \(6,\)"):
        BatchInterpreter(content)(np.zeros((300, 5), np.float32))

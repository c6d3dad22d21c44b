"""Models built again, in float32 or unrolled: the same outputs, names and weights."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tfopt.errors import ModelError
from tfopt.models import signature
from tfopt.models.clone import LONGEST, in_float32, unrolled
from tfopt.models.layers import walk
from tfopt.quantization import convert


def outputs(model, samples):
    feed = {name: array[:8] for name, array in zoo.by_name(model, samples).items()}
    return {name: keras.ops.convert_to_numpy(value) for name, value in signature.call(model, feed).items()}


def check_equal(copy, model, samples, tolerance=1e-5):
    mine, theirs = outputs(copy, samples), outputs(model, samples)
    assert list(mine) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(mine[name], value.astype(np.float32), atol=tolerance * np.abs(value).max())


def loops(model):
    return [place.layer for place in walk(model) if isinstance(place.layer, keras.layers.RNN)]


def in_two_inputs():
    """A recurrent layer in a nested model, one beside it, and inputs with names."""
    inner = keras.Sequential([layers.Input((6, 4)), layers.GRU(3, return_sequences=True)], name="inner")
    b, a = layers.Input((6, 4), name="b"), layers.Input((6, 4), name="a")
    h = layers.Concatenate()([layers.LSTM(5)(inner(b)), layers.SimpleRNN(3, go_backwards=True)(a)])
    return keras.Model([b, a], layers.Dense(2, name="y")(h)), [zoo.normal(16, 6, 4), -zoo.normal(16, 6, 4)]


def stacked_cells():
    cells = [layers.LSTMCell(4), layers.GRUCell(3)]
    return zoo.chain((6, 4), layers.RNN(cells), layers.Dense(2))


def stateful_dropout():
    return zoo.chain((6, 4), layers.LSTM(4, dropout=0.3, recurrent_dropout=0.3, use_bias=False), layers.Dense(2))


OWN = {"two inputs": in_two_inputs, "stacked cells": stacked_cells, "dropout inside": stateful_dropout}


@pytest.mark.parametrize("name", ["lstm", "gru", "bidirectional lstm", "conv lstm2d", *OWN])
def test_an_unrolled_model_gives_what_the_loops_give(built, name):
    keras.utils.set_random_seed(5)
    model, samples = OWN[name]() if name in OWN else built(name)
    copy = unrolled(model)
    assert [layer.unroll for layer in loops(copy)] == [True] * len(loops(model))
    assert [tensor.name for tensor in copy.inputs] == [tensor.name for tensor in model.inputs]
    check_equal(copy, model, samples)


def test_unrolling_leaves_the_model_as_it_was(built):
    model, samples = built("lstm")
    before = outputs(model, samples)
    unrolled(model)
    assert [layer.unroll for layer in loops(model)] == [False]
    np.testing.assert_array_equal(outputs(model, samples)["output"], before["output"])


def test_a_model_of_unknown_length_is_not_unrolled(built):
    with pytest.raises(ModelError, match="no fixed length"):
        unrolled(built("lstm of unknown length")[0])


def test_a_subclassed_model_is_not_unrolled():
    class Reader(keras.Model):
        def __init__(self):
            super().__init__()
            self.rnn = layers.LSTM(3)

        def call(self, x):
            return self.rnn(x)

    model = Reader()
    model(zoo.normal(2, 6, 4))
    with pytest.raises(ModelError, match="not be built again with unroll"):
        unrolled(model)


@pytest.mark.parametrize(("steps", "taken"), [(LONGEST, True), (LONGEST + 1, False)])
def test_a_loop_of_more_steps_than_the_limit_is_not_unrolled(steps, taken):
    model = keras.Sequential([layers.Input((steps, 2)), layers.SimpleRNN(2)])
    with contextlib.nullcontext() if taken else pytest.raises(ModelError, match="129 steps, more than 128"):
        assert unrolled(model).layers[-1].unroll


@pytest.mark.parametrize("name", ["mixed float16", "mixed bfloat16"])
def test_a_model_in_mixed_precision_is_built_again_in_float32(built, name):
    model, samples = built(name)
    copy = in_float32(model)
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    assert [tensor.name for tensor in copy.inputs] == [tensor.name for tensor in model.inputs]
    check_equal(copy, model, samples, tolerance=0.01)
    assert all(np.array_equal(a, b) for a, b in zip(copy.get_weights(), model.get_weights(), strict=True))


def test_a_nested_layer_in_mixed_precision_is_found_and_built_again():
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(8, dtype="mixed_float16", name="deep")], name="inner")
    x = layers.Input((6,), name="x")
    model = keras.Model(x, layers.Dense(2)(inner(x)))
    copy = in_float32(model)
    assert {place.layer.compute_dtype for place in walk(copy)} == {"float32"}
    check_equal(copy, model, zoo.normal(16, 6), tolerance=0.01)


@pytest.mark.parametrize("name", ["conv2d", "nested", "subclassed", "lstm"])
def test_a_model_in_float32_is_taken_as_it_is(built, name):
    model, _ = built(name)
    assert in_float32(model) is model


def test_a_subclassed_model_in_mixed_precision_is_refused_with_the_way_out(one_line):
    class Half(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, dtype="mixed_float16")

        def call(self, x):
            return self.dense(x)

    model, x = Half(), zoo.normal(4, 6)
    model(x)
    with pytest.raises(ModelError, match="Build it so yourself") as caught:
        convert(model, "float32", x)
    assert "dtype='float32'" in one_line(caught)

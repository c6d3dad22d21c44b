"""LSTMs as one op in float: the outputs of Keras, and which layers stay as they are."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization.recurrent.recurrent_nets import (
    LSTM,
    STEPS,
    built,
    by_keras,
    chain,
    known,
    needs_tflm,
    on_tflm,
    to_float_once,
)
from tfopt.errors import ConversionError
from tfopt.quantization.float_conversion import to_float
from tfopt.quantization.recurrent.fused_call import unfusable
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


def names(source):
    return [op.name for op in source.ops]


def fused(name):
    """A model, its samples and its float file, in which its LSTMs are one op each."""
    model, samples = known(name)
    return model, samples, to_float_once(model, samples, 1, False, "auto")


@needs_tflm
def test_tflm_gives_the_same():
    model, samples, source = fused("both ways, concat")
    few = {name: values[:4] for name, values in samples.items()}
    expected = by_keras(model, few)
    assert np.abs(on_tflm(source.content, few).reshape(expected.shape) - expected).max() < 1e-5


def test_a_file_of_several_samples_has_a_state_for_each():
    model, samples = built("stacked")
    source = to_float(model, samples, batch=8, recurrent="auto")
    [found] = Runner(source.content)(samples).values()
    assert np.abs(found - by_keras(model, samples)).max() < 1e-5


def test_a_sequence_may_have_any_length():
    model, _ = built("last step")
    open_model = chain(layers.LSTM(4), layers.Dense(2), shape=(None, 3))
    open_model.set_weights(model.get_weights())
    source = to_float(open_model, np.zeros((1, STEPS, 3), np.float32), recurrent="auto")
    assert names(source).count(LSTM) == 1
    for steps in (2, 9):
        x = np.random.default_rng(steps).normal(size=(3, steps, 3)).astype(np.float32)
        [found] = Runner(source.content)(x).values()
        assert np.abs(found - np.asarray(open_model(x))).max() < 1e-5


def test_the_op_belongs_to_its_layer_and_has_its_weights():
    model, _, source = fused("stacked")
    owned = [places for op, places in zip(source.ops, source.owners, strict=True) if op.name == LSTM]
    assert [[place.path for place in places] for places in owned] == [[layer.name] for layer in model.layers[:2]]
    first = next(op for op in source.ops if op.name == LSTM)
    kernel, recurrent_kernel, bias = model.layers[0].get_weights()
    own = [source.constants[tensor.name] for tensor in first.inputs if tensor.name in source.constants]
    assert np.array_equal(np.concatenate(own[:4]).T, kernel)
    assert np.array_equal(np.concatenate(own[4:8]).T, recurrent_kernel)
    assert np.array_equal(np.concatenate(own[8:]), bias)


def test_a_layer_that_is_called_twice_has_its_weights_once():
    source = fused("called twice")[2]
    first, second = (op for op in source.ops if op.name == LSTM)
    assert [t.name for t in first.kernels] == [t.name for t in second.kernels]
    assert len(source.content) < 2 * len(fused("last step")[2].content)


def test_nothing_that_no_op_reads_is_left_in_the_file():
    parsed = flatbuffer.parse(fused("both ways, concat")[2].content)
    graph = parsed.subgraphs[0]
    read_or_written = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs)} | set(graph.inputs)
    assert read_or_written - {-1} == set(range(len(graph.tensors)))
    assert all(code.customCode is None for code in parsed.operatorCodes)
    assert {0, *(tensor.buffer for tensor in graph.tensors)} >= set(range(len(parsed.buffers))) - {
        entry.buffer for entry in parsed.metadata or []
    }


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: layers.LSTM(4, activation="relu"), "relu and sigmoid"),
        (lambda: layers.LSTM(4, recurrent_activation="hard_sigmoid"), "tanh and hard_sigmoid"),
        (lambda: layers.LSTM(4, return_state=True), "return_state"),
        (lambda: layers.GRU(4), "no op of a whole GRU"),
        (lambda: layers.SimpleRNN(4), "no op of a whole SimpleRNN"),
        (lambda: layers.RNN(layers.LSTMCell(4)), "no op of a whole RNN"),
        (lambda: layers.ConvLSTM2D(4, 3), "no op of a whole ConvLSTM2D"),
        (lambda: type("OwnLSTM", (layers.LSTM,), {})(4), "no op of a whole OwnLSTM"),
    ],
)
def test_a_layer_that_computes_something_else_is_not_one_op(layer, reason):
    assert reason in unfusable(layer())


def test_a_layer_that_is_built_to_be_unrolled_is_one_op_where_that_is_asked_for():
    assert "unroll=True" in unfusable(layers.LSTM(4, unroll=True), asked=False)
    model, samples = built(chain(layers.LSTM(4, unroll=True)))
    assert LSTM not in names(to_float(model, samples, recurrent="auto"))
    assert LSTM in names(to_float(model, samples, recurrent="fused"))


def with_initial_state():
    inputs, state = layers.Input((STEPS, 3), name="x"), layers.Input((4,), name="state")
    return keras.Model([inputs, state], layers.LSTM(4, name="memory")(inputs, initial_state=[state, state]))


def test_a_layer_that_is_given_an_initial_state_is_a_loop_that_is_right():
    model, samples = built(with_initial_state())
    source = to_float(model, samples, recurrent="auto")
    assert LSTM not in names(source)
    assert "an initial state" in source.unfused["memory"]
    [found] = Runner(source.content)(samples).values()
    assert np.abs(found - by_keras(model, samples)).max() < 1e-5


def test_an_lstm_in_a_loop_of_the_users_own_stays_what_it_was():
    @keras.saving.register_keras_serializable("recurrent_nets")
    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.LSTM(3, return_sequences=True)

        def call(self, x):
            return keras.ops.fori_loop(0, 2, lambda i, value: self.inner(value), x)

    model, samples = built(chain(Twice()))
    source = to_float(model, samples, recurrent="auto")
    assert LSTM not in names(source)
    [found] = Runner(source.content)(samples).values()
    assert np.abs(found - by_keras(model, samples)).max() < 1e-5


def test_an_op_that_tflite_does_not_have_is_still_refused_beside_an_lstm():
    model, samples = built(
        chain(layers.LSTM(4), layers.Lambda(lambda x: keras.ops.linalg.det(x[:, :, None] * x[:, None])))
    )
    with pytest.raises(ConversionError, match="which TFLite does not have"):
        to_float(model, samples, recurrent="auto")


def test_an_op_that_is_replaced_is_still_replaced_beside_an_lstm():
    model, samples = built(chain(layers.LSTM(4), layers.Lambda(lambda x: keras.ops.erf(x))))
    source = to_float(model, samples, recurrent="auto")
    assert source.replaced
    [found] = Runner(source.content)(samples).values()
    assert np.abs(found - by_keras(model, samples)).max() < 1e-5


def test_without_being_asked_for_a_layer_is_a_loop():
    source = to_float(*known("last step"))
    assert [op.name for op in read(source.content).ops if op.facts.loop] == ["WHILE"]

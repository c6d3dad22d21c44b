"""A bias that another op computes becomes a sum, which the quantizer can put on a grid."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tests.quantization import zoo
from tfopt.output_capture import captured
from tfopt.quantization import convert
from tfopt.quantization.bias_rewrite import add_computed_biases
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

WIDTH = 16


def multiplied_out(activation="relu"):
    """A file of `activation(W x + (V x + b))` whose inner sum is the bias of the outer product, and NumPy's answer."""
    draw = np.random.default_rng(3)
    w, v, b = (draw.normal(size=shape).astype(np.float32) for shape in [(WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH,)])
    end = getattr(tf.nn, activation) if activation else tf.identity

    def function(x):
        inner = tf.nn.relu(tf.matmul(x, v) + b)
        return end(tf.matmul(x, w) + tf.zeros(WIDTH)) + inner

    def expected(x):
        outer = x @ w + np.maximum(x @ v + b, 0)
        return np.maximum(outer, 0) if activation else outer

    with captured():
        concrete = tf.function(function).get_concrete_function(tf.TensorSpec((1, WIDTH), name="x"))
        parsed = flatbuffer.parse(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    flatbuffer.with_signature(parsed, ["x"], ["y"])
    return _with_computed_bias(parsed), expected


def _with_computed_bias(parsed):
    """The same with the last sum as the bias of the outer product, as TensorFlow 2.20 writes it."""
    graph = parsed.subgraphs[0]
    products = [op for op in graph.operators if kind_of(parsed, op) == schema.BuiltinOperator.FULLY_CONNECTED]
    [total] = [op for op in graph.operators if kind_of(parsed, op) == schema.BuiltinOperator.ADD]
    outer = next(op for op in products if int(op.outputs[0]) == int(total.inputs[0]))
    [inner] = [op for op in products if op is not outer]
    outer.inputs = np.array([*outer.inputs[:2], inner.outputs[0]], np.int32)
    outer.outputs = total.outputs
    graph.operators = [inner, outer]
    return parsed


def kind_of(parsed, op):
    return flatbuffer.builtin_operator(parsed.operatorCodes[op.opcodeIndex])


def names(parsed):
    return [op.name for op in read(flatbuffer.pack(parsed)).ops]


@pytest.mark.parametrize("activation", ["relu", ""])
def test_a_computed_bias_becomes_a_sum_with_the_activation_after_it(activation):
    parsed, expected = multiplied_out(activation)
    assert names(parsed) == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    add_computed_biases(parsed)
    assert names(parsed) == ["FULLY_CONNECTED", "FULLY_CONNECTED", "ADD"]
    x = zoo.normal(1, WIDTH)
    for delegate in (True, False):
        got = Runner(flatbuffer.pack(parsed), delegate=delegate)(x)["y"]
        np.testing.assert_allclose(got, expected(x), rtol=1e-5, atol=1e-5)


def test_constant_biases_stay():
    parsed, _ = multiplied_out()
    add_computed_biases(parsed)
    before = names(parsed)
    add_computed_biases(parsed)
    assert names(parsed) == before


@pytest.mark.parametrize("mode", ["int8", "int4", "int16x8"])
def test_dense_layers_after_sums_can_be_quantized(mode):
    """What TensorFlow 2.20 multiplies out, and later releases do not."""
    keras.utils.set_random_seed(1)
    inputs = values = layers.Input((WIDTH,))
    for _ in range(3):
        values = layers.Add()([values, layers.Dense(WIDTH, activation="relu", bias_initializer="ones")(values)])
    model, x = keras.Model(inputs, layers.Dense(6)(values)), zoo.normal(120, WIDTH)
    [got] = Runner(convert(model, mode, calibration=x))(x).values()
    expected = model.predict(x, verbose=0)
    signal = 10 * np.log10(np.square(expected).mean() / np.square(got - expected).mean())
    assert signal > {"int8": 25, "int4": 0, "int16x8": 25}[mode]

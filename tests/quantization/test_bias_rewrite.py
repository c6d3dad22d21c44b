"""A dense layer that reads a sum stays one, where the converter multiplies it out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tests.quantization import zoo
from tfopt.output_capture import captured
from tfopt.quantization import convert
from tfopt.quantization.bias_rewrite import factor_out_kernels
from tfopt.quantization.float_conversion import to_float
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

WIDTH = 16
DENSE = schema.BuiltinOperator.FULLY_CONNECTED


def multiplied_out(same=True):
    """A file of `relu(W x + (V y + b))`, `y = relu(U x)`, the inner sum a bias, as TensorFlow 2.20 writes it.

    Args:
        same: Whether V is W.

    Returns:
        The parsed file, and NumPy's answer.
    """
    draw = np.random.default_rng(3)
    u, w, v = (draw.normal(size=(WIDTH, WIDTH)).astype(np.float32) for _ in range(3))
    b = draw.normal(size=WIDTH).astype(np.float32)
    v = w if same else v

    def function(x):
        inner = tf.matmul(tf.nn.relu(tf.matmul(x, u)), v) + b
        return tf.nn.relu(tf.matmul(x, w)) + inner

    def expected(x):
        return np.maximum(x @ w + np.maximum(x @ u, 0) @ v + b, 0)

    with captured():
        concrete = tf.function(function).get_concrete_function(tf.TensorSpec((1, WIDTH), name="x"))
        parsed = flatbuffer.parse(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    flatbuffer.with_signature(parsed, ["x"], ["y"])
    graph = parsed.subgraphs[0]
    first, inner, outer = sorted(
        (op for op in graph.operators if kind_of(parsed, op) == DENSE), key=lambda op: place(graph, op)
    )
    outer.inputs = np.array([*outer.inputs[:2], inner.outputs[0]], np.int32)
    outer.outputs = graph.outputs
    graph.operators = [first, inner, outer]
    return parsed, expected


def place(graph, op):
    """First the product that another reads, then the one that reads it."""
    read_by = [other for other in graph.operators if int(op.outputs[0]) == int(other.inputs[0])]
    takes_first = int(op.inputs[0]) != int(graph.inputs[0])
    return 0 if any(int(other.inputs[1]) in _kernels(graph) for other in read_by) else 1 if takes_first else 2


def _kernels(graph):
    return {index for index, tensor in enumerate(graph.tensors) if tuple(tensor.shape) == (WIDTH, WIDTH)}


def kind_of(parsed, op):
    return flatbuffer.builtin_operator(parsed.operatorCodes[op.opcodeIndex])


def names(parsed):
    return [op.name for op in read(flatbuffer.pack(parsed)).ops]


def test_a_product_of_a_sum_is_one_product_again():
    parsed, expected = multiplied_out()
    assert names(parsed) == ["FULLY_CONNECTED"] * 3
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED", "ADD", "FULLY_CONNECTED"]
    x = zoo.normal(1, WIDTH)
    for delegate in (True, False):
        got = Runner(flatbuffer.pack(parsed), delegate=delegate)(x)["y"]
        np.testing.assert_allclose(got, expected(x), rtol=1e-4, atol=1e-4)


def test_products_of_other_kernels_stay():
    parsed, expected = multiplied_out(same=False)
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED"] * 3
    x = zoo.normal(1, WIDTH)
    np.testing.assert_allclose(Runner(flatbuffer.pack(parsed))(x)["y"], expected(x), rtol=1e-4, atol=1e-4)


def test_a_product_with_an_activation_stays():
    parsed, _ = multiplied_out()
    parsed.subgraphs[0].operators[1].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED"] * 3


def test_an_inner_product_that_others_read_stays():
    parsed, _ = multiplied_out()
    graph = parsed.subgraphs[0]
    graph.outputs = np.array([*graph.outputs, graph.operators[1].outputs[0]], np.int32)
    flatbuffer.with_signature(parsed, ["x"], ["y", "z"])
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED", "FULLY_CONNECTED", "ADD", "FULLY_CONNECTED"]


def residual():
    keras.utils.set_random_seed(1)
    inputs = values = layers.Input((WIDTH,))
    for _ in range(3):
        values = layers.Add()([values, layers.Dense(WIDTH, activation="relu", bias_initializer="ones")(values)])
    return keras.Model(inputs, layers.Dense(6)(values))


def test_a_layer_is_one_product_with_each_release_of_tensorflow():
    assert [op.name for op in to_float(residual()).ops].count("FULLY_CONNECTED") == 4


@pytest.mark.parametrize(("mode", "least"), [("int8", 25), ("int4", 0), ("int16x8", 25)])
def test_residual_dense_layers_can_be_quantized(mode, least):
    model, x = residual(), zoo.normal(120, WIDTH)
    [got] = Runner(convert(model, mode, x))(x).values()
    expected = model.predict(x, verbose=0)
    assert 10 * np.log10(np.square(expected).mean() / np.square(got - expected).mean()) > least

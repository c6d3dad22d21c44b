"""A dense layer that reads a sum stays one, where the converter of TensorFlow 2.20 multiplies it out."""

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
RELU = schema.ActivationFunctionType.RELU


def multiplied_out(one_dimension=False, same=True, bias=True):
    """A file of `relu(W x + (V y + b))`, `y = relu(U z)`, whose inner sum is the bias of the outer product.

    Args:
        one_dimension: Whether y has one dimension, as TensorFlow 2.20 writes it; else it is a row.
        same: Whether V is W.
        bias: Whether there is a b.

    Returns:
        The parsed file, and NumPy's answer.
    """
    draw = np.random.default_rng(3)
    u, w, v = (draw.normal(size=(WIDTH, WIDTH)).astype(np.float32) for _ in range(3))
    b = draw.normal(size=WIDTH).astype(np.float32) if bias else np.zeros(WIDTH, np.float32)
    v = w if same else v

    def function(x, z):  # apart from each other, so that each product is an op of its own
        y = tf.nn.relu(tf.matmul(z, u))
        return tf.nn.relu(tf.matmul(x, w)), tf.matmul(y, v) + (b if bias else 0.0)

    def expected(x, z):
        return np.maximum(x @ w + np.maximum(z @ u, 0) @ v + b, 0)

    specs = [tf.TensorSpec((1, WIDTH), name=name) for name in "xz"]
    with captured():
        concrete = tf.function(function).get_concrete_function(*specs)
        parsed = flatbuffer.parse(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    graph = parsed.subgraphs[0]
    x, z = (int(i) for i in graph.inputs)
    first = next(op for op in graph.operators if int(op.inputs[0]) == z)
    inner = next(op for op in graph.operators if int(op.inputs[0]) == int(first.outputs[0]))
    outer = next(op for op in graph.operators if int(op.inputs[0]) == x)
    outer.inputs = np.array([*outer.inputs[:2], inner.outputs[0]], np.int32)
    graph.operators, graph.outputs = [first, inner, outer], outer.outputs
    if one_dimension:
        for op in (first, inner):
            graph.tensors[int(op.outputs[0])].shape = np.array([WIDTH], np.int32)
    flatbuffer.with_signature(parsed, ["x", "z"], ["y"])
    return parsed, expected


def names(parsed):
    return [op.name for op in read(flatbuffer.pack(parsed)).ops]


def held_to(expected, parsed):
    x, z = zoo.normal(1, WIDTH), zoo.normal(1, WIDTH) + 1
    for delegate in (True, False):
        got = Runner(flatbuffer.pack(parsed), delegate=delegate)({"x": x, "z": z})["y"]
        np.testing.assert_allclose(got, expected(x, z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("one_dimension", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_of_a_sum_is_one_product_again(one_dimension, bias):
    parsed, expected = multiplied_out(one_dimension=one_dimension, bias=bias)
    assert names(parsed) == ["FULLY_CONNECTED"] * 3
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED", "ADD", "FULLY_CONNECTED"]
    held_to(expected, parsed)


def test_products_of_other_kernels_stay():
    parsed, expected = multiplied_out(same=False)
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED"] * 3
    held_to(expected, parsed)


def test_a_product_with_an_activation_stays():
    parsed, _ = multiplied_out()
    parsed.subgraphs[0].operators[1].builtinOptions.fusedActivationFunction = RELU
    before = flatbuffer.pack(parsed)
    factor_out_kernels(parsed)
    assert flatbuffer.pack(parsed) == before


@pytest.mark.parametrize("shape", [(2, WIDTH), (1, 1, WIDTH), (1, WIDTH // 2)])
def test_a_sum_of_other_shapes_than_a_row_stays(shape):
    parsed, _ = multiplied_out()
    graph = parsed.subgraphs[0]
    graph.tensors[int(graph.operators[1].inputs[0])].shape = np.array(shape, np.int32)
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED"] * 3


def test_an_inner_product_that_others_read_stays():
    parsed, expected = multiplied_out()
    graph = parsed.subgraphs[0]
    graph.outputs = np.array([*graph.outputs, graph.operators[1].outputs[0]], np.int32)
    flatbuffer.with_signature(parsed, ["x", "z"], ["y", "inner"])
    factor_out_kernels(parsed)
    assert names(parsed) == ["FULLY_CONNECTED", "FULLY_CONNECTED", "ADD", "FULLY_CONNECTED"]
    held_to(expected, parsed)


def residual():
    keras.utils.set_random_seed(1)
    inputs = values = layers.Input((WIDTH,))
    for _ in range(3):
        values = layers.Add()([values, layers.Dense(WIDTH, activation="relu", bias_initializer="ones")(values)])
    return keras.Model(inputs, layers.Dense(6)(values))


def test_a_layer_is_one_product_with_each_release_of_tensorflow():
    """Fails without the rewriting where TensorFlow is 2.20."""
    assert [op.name for op in to_float(residual()).ops].count("FULLY_CONNECTED") == 4


@pytest.mark.parametrize(("mode", "least"), [("int8", 30), ("int4", 15), ("int16x8", 35)])
def test_residual_dense_layers_can_be_quantized(mode, least):
    """Fails without the rewriting where TensorFlow is 2.20."""
    model, x = residual(), zoo.normal(120, WIDTH)
    [got] = Runner(convert(model, mode, x))(x).values()
    expected = model.predict(x, verbose=0)
    assert 10 * np.log10(np.square(expected).mean() / np.square(got - expected).mean()) > least

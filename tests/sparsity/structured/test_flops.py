"""Parameters and floating point operations, against TensorFlow's profiler and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tests.sparsity.structured.reference import some_groups
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.flops import costs
from tfopt.sparsity.structured.surgery import cut

PRODUCTS = {"Conv2D", "MatMul", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D", "BatchMatMulV2"}


def profiled(model):
    """What TensorFlow's own profiler counts of the ops that multiply by kernels, for one sample."""
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    function = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0])).get_concrete_function(*specs)
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    graph = convert_variables_to_constants_v2(function).graph
    found = tf.compat.v1.profiler.profile(graph=graph, cmd="op", options=options)
    total, node = 0, found
    while node.children:
        node = node.children[0]
        total += node.float_ops if node.name in PRODUCTS else 0
    return total


def inverted_residual():
    """A block of MobileNetV2 between two convolutions."""
    inputs = layers.Input((9, 9, 3))
    x = layers.Conv2D(8, 3, use_bias=False)(inputs)
    inner = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(24, 1, use_bias=False)(x)))
    inner = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(inner)))
    inner = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(inner))
    x = layers.Conv2D(16, 1)(layers.Add()([x, inner]))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


MODELS = {
    "dense": lambda: keras.Sequential([layers.Input((6,)), layers.Dense(16), layers.Dense(4)]),
    "conv": lambda: keras.Sequential(
        [
            layers.Input((9, 9, 3)),
            layers.Conv2D(8, 3, strides=2),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.SeparableConv2D(12, 3, padding="same"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    ),
    "inverted residual": inverted_residual,
    "MobileNetV2": lambda: keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=10),
}
CASES = [pytest.param(name, marks=pytest.mark.slow) if name == "MobileNetV2" else name for name in MODELS]


def total(structure, what, left=None):
    return sum(getattr(cost, what) for cost in costs(structure, left))


@pytest.mark.parametrize("name", CASES)
def test_operations_are_those_that_tensorflow_counts(name):
    model = MODELS[name]()
    assert total(read(model), "flops") == profiled(model)


@pytest.mark.parametrize("name", CASES)
def test_the_costs_of_a_cut_are_known_before_it_is_made(name):
    model = MODELS[name]()
    structure = read(model)
    drop = some_groups(structure)
    smaller = cut(structure, drop)
    left = structure.left(drop)
    assert total(structure, "parameters", left) == smaller.count_params() < model.count_params()
    assert total(structure, "flops", left) == profiled(smaller) < profiled(model)
    assert [cost.channels for cost in costs(structure, left)] == [cost.channels for cost in costs(read(smaller))]


def test_a_transposed_convolution_multiplies_its_kernel_at_every_place_of_its_input():
    """TensorFlow's profiler counts it by the places of its output, most of which a stride leaves without a product."""
    stack = [layers.Input((5, 5, 3)), layers.Conv2D(8, 3), layers.Conv2DTranspose(6, 3, strides=2), layers.Conv2D(4, 1)]
    found = [cost.flops for cost in costs(read(keras.Sequential(stack)))]
    assert found == [2 * 9 * (9 * 3 * 8), 2 * 9 * (9 * 8 * 6), 2 * 49 * (6 * 4)]


def test_an_attention_counts_its_projections_and_its_products():
    inputs = layers.Input((7, 12))
    model = keras.Model(inputs, layers.MultiHeadAttention(3, 5)(inputs, inputs))
    projections = 4 * 2 * 7 * 12 * 3 * 5
    products = 2 * (2 * 3 * 7 * 7 * 5)
    assert total(read(model), "flops") == projections + products


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("sequences", [True, False])
def test_a_recurrent_layer_counts_every_step(kind, sequences):
    layer = getattr(layers, kind)(6, return_sequences=sequences)
    model = keras.Sequential([layers.Input((7, 4)), layer])
    gates = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}[kind]
    assert total(read(model), "flops") == 7 * 2 * gates * 6 * (4 + 6)


def test_a_shared_layer_counts_its_operations_for_each_call_and_its_weights_once():
    shared = layers.Dense(8)
    inputs = layers.Input((8,))
    model = keras.Model(inputs, shared(shared(inputs)))
    [cost] = costs(read(model))
    assert cost.flops == 2 * 2 * 8 * 8
    assert cost.parameters == model.count_params() == 72


def test_normalizations_and_activations_count_as_none():
    model = keras.Sequential([layers.Input((4, 4, 6)), layers.BatchNormalization(), layers.PReLU(), layers.ReLU()])
    assert [cost.flops for cost in costs(read(model))] == [0, 0]
    assert np.sum([cost.parameters for cost in costs(read(model))]) == model.count_params()

"""Rows of ops with a kernel, and ops run alone, against LiteRT on the whole file."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.quantization.preparation import prepare
from tfopt.quantization.rounding.columns import columns_of
from tfopt.quantization.rounding.op_runner import OpRunner
from tfopt.recipe.export import Export
from tfopt.tflite import flatbuffer
from tfopt.tflite.activations import activations

CONVOLUTIONS = {
    "strided": layers.Conv2D(4, (3, 2), strides=2, padding="same"),
    "dilated": layers.Conv2D(4, 3, dilation_rate=2),
    "grouped": layers.Conv2D(6, 3, groups=3, padding="same", activation="relu6"),
    "depthwise": layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, strides=2),
    "dilated_depthwise": layers.DepthwiseConv2D((2, 3), dilation_rate=2),
    "transposed": layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
    "wide_transposed": layers.Conv2DTranspose(4, (2, 5), strides=(3, 2), padding="valid"),
    "dense": layers.Dense(5, activation="relu"),
}


@pytest.fixture(scope="module")
def file():
    """A file of all kinds of windows, what it computes on four samples, and its parsed form."""
    keras.utils.set_random_seed(0)
    inputs = layers.Input((7, 9, 6))
    parts = []
    for name, layer in CONVOLUTIONS.items():
        layer.name, layer.bias_initializer = name, keras.initializers.RandomNormal(seed=1)
        parts.append(layers.GlobalAveragePooling2D()(layer(inputs)))
    model = keras.Model(inputs, layers.Softmax()(layers.Concatenate()(parts)))
    x = np.random.default_rng(0).normal(size=(4, 7, 9, 6)).astype(np.float32)
    prepared = prepare(model, Export(), x)
    source = prepared.source
    names = {tensor.name for op in source.ops for tensor in (*op.inputs, *op.outputs) if not tensor.bytes}
    return source, activations(source.content, prepared.samples, names), flatbuffer.view(source.content)


@pytest.mark.parametrize("layer", CONVOLUTIONS)
def test_kernel_times_rows_is_what_the_op_gives(file, layer):
    source, values, model = file
    number = next(
        i
        for i, op in enumerate(source.ops)
        if op.facts.windows and any(place.path == layer for place in source.owners[i])
    )
    op = source.ops[number]
    data, kernel, bias = op.facts.data_kernel_bias
    columns = columns_of(op, model.subgraphs[0].operators[number].builtinOptions)
    taken, weights = values[op.inputs[data].name], source.constants[op.inputs[kernel].name]
    rows = columns.rows(taken, np.arange(columns.count(taken)))
    own = columns.split(weights)
    products = np.einsum("gnj,gij->ngi", rows, own).reshape(rows.shape[1], -1)
    if len(op.inputs) > bias:
        products = products + source.constants[op.inputs[bias].name]
    expected = values[op.outputs[0].name].reshape(products.shape)
    np.testing.assert_allclose(np.clip(products, *columns.bounds), expected, atol=2e-5)
    assert np.array_equal(columns.join(own), weights)
    np.testing.assert_allclose(columns.mean(taken), rows.mean(1), atol=1e-5)


def test_ops_one_by_one_give_what_the_file_gives(file):
    source, values, model = file
    graph = model.subgraphs[0]
    for number, op in enumerate(source.ops):
        run = OpRunner(model, number, op)
        found = run([values[name].reshape(4, -1, *values[name].shape[1:]) for name in run.reads], 4)
        expected = values[graph.tensors[int(graph.operators[number].outputs[0])].name.decode()]
        np.testing.assert_allclose(found[0].reshape(expected.shape), expected, atol=2e-5)


def test_an_op_that_mixes_samples_is_run_sample_by_sample(file):
    """A mean over the axis of samples as well: of many samples at once it would be the mean of all."""
    inputs = layers.Input((6,))
    model = keras.Model(inputs, layers.Dense(3)(keras.ops.reshape(keras.ops.reshape(inputs, (-1, 2)), (-1, 6))))
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    source = prepare(model, Export(), x).source
    view = flatbuffer.view(source.content)
    values = x[:, None]
    for number, op in enumerate(source.ops):
        run = OpRunner(view, number, op)
        [values] = run([values] if run.reads else [], 5)
    np.testing.assert_allclose(values[:, 0], model(x).numpy(), atol=1e-5)

"""Layers as products with a matrix, against what Keras computes."""

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.models.layers import Kernel, LayerRef
from tfopt.sparsity.one_shot.linear_layers import LinearLayer, linear_layer

SEEN = {
    "dense": ((7,), layers.Dense(3, use_bias=False)),
    "dense on a sequence": ((4, 7), layers.Dense(3, use_bias=False)),
    "same with strides": ((9, 8, 2), layers.Conv2D(3, (3, 2), 2, padding="same", use_bias=False)),
    "dilated": ((9, 8, 2), layers.Conv2D(3, 3, dilation_rate=2, use_bias=False)),
    "1d": ((11, 2), layers.Conv1D(3, 4, 2, use_bias=False)),
    "causal": ((11, 2), layers.Conv1D(3, 3, padding="causal", dilation_rate=2, use_bias=False)),
    "heads": ((5, 4), layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3))),
    "heads joined": ((5, 2, 3), layers.EinsumDense("abcd,cde->abe", output_shape=(None, 4))),
    "transposed": ((5, 4), layers.EinsumDense("abc,dc->abd", output_shape=(None, 3))),
    "ellipsis": ((2, 5, 4), layers.EinsumDense("...x,xy->...y", output_shape=(5, 3))),
}
NOT_SEEN = {
    "a class": ((6, 2), layers.Conv1DTranspose(3, 2)),
    "groups": ((6, 6, 4), layers.Conv2D(4, 3, groups=2)),
    "a matrix for each": ((5, 4), layers.EinsumDense("abc,bcd->abd", output_shape=(5, 3))),
}


def kernel_of(layer):
    return Kernel(LayerRef(layer.name, layer), "kernel", layer.kernel)


@pytest.mark.parametrize("name", SEEN)
def test_rows_times_the_matrix_are_the_outputs(name):
    shape, layer = SEEN[name]
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    outputs = keras.ops.convert_to_numpy(layer(x))
    linear = linear_layer(kernel_of(layer))
    assert isinstance(linear, LinearLayer)
    kernel = layer.kernel.numpy()
    matrix = linear.matrix(kernel)
    found = np.concatenate(list(linear.rows(x))) @ matrix
    np.testing.assert_allclose(np.sort(found.ravel()), np.sort(outputs.ravel()), atol=1e-5)
    np.testing.assert_allclose(found.reshape(outputs.shape), outputs, atol=1e-5)
    np.testing.assert_array_equal(linear.restored(matrix), kernel)


@pytest.mark.parametrize("name", NOT_SEEN)
def test_what_is_not_one_product_says_so(name):
    shape, layer = NOT_SEEN[name]
    layer.build((None, *shape))
    reason = linear_layer(kernel_of(layer))
    assert isinstance(reason, str)
    assert reason.startswith("it is pruned by magnitude alone: ")

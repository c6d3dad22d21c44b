"""Reciprocal roots with a bound: a row of zeros stays zeros in the file, as in Keras."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.quantization import zoo
from tfopt.callbacks import QuantizationAware
from tfopt.quantization import convert
from tfopt.quantization.float_conversion import to_float
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


def rows(*shape):
    """Samples of which the fourth is zeros."""
    found = zoo.normal(*shape)
    found[3] = 0
    return found


def model_of(function, width=8):
    x = layers.Input((width,), name="x")
    return keras.Model(x, function(x))


def snr(content, model, x):
    [got], expected = Runner(content)(x).values(), np.asarray(model(x))
    return 10 * np.log10(expected.var() / np.square(got - expected).mean())


NORMALIZED = {
    "UnitNormalization": layers.UnitNormalization(),
    "normalize": ops.normalize,
    "normalize with its own epsilon": lambda x: ops.normalize(x, epsilon=1e-3),
    "normalize of order 1": lambda x: ops.normalize(x, order=1),
    "cosine similarity": lambda x: layers.Dot(1, normalize=True)([x, x]),
    "a bound of one's own, first": lambda x: x * ops.minimum(1e5, ops.rsqrt(x * x)),
    "power": lambda x: x * ops.minimum(ops.power(x * x, -0.5), 1e5),
    "root that is read twice": lambda x: ops.concatenate(
        [ops.minimum(root := ops.rsqrt(ops.sum(x * x, -1, keepdims=True)), 1e5), ops.minimum(root, 2.0)], -1
    ),
}


@pytest.mark.parametrize("name", NORMALIZED)
def test_the_float_file_gives_what_keras_gives_of_every_row_and_of_zeros(name):
    model, x = model_of(NORMALIZED[name]), rows(6, 8)
    x[4] *= 1e-9  # where the bound counts
    expected = np.asarray(model(x))
    assert np.isfinite(expected).all()
    for content in (to_float(model).content, convert(model, "float32", x)):
        [got] = Runner(content)(x).values()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["float16", "dynamic", "weight_only", "int8", "int16x8", "int4"])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.sample(4)
def test_every_mode_keeps_rows_of_zeros_and_the_others(mode, given):
    model = model_of(lambda x: layers.Dense(3, use_bias=False)(layers.UnitNormalization()(x)))
    static = mode in ("int8", "int16x8", "int4")
    content = convert(model, mode, rows(40, 8) if static or given else None)
    assert snr(content, model, zoo.normal(20, 8)) > (15 if mode == "int4" else 25)
    [got] = Runner(content)(np.zeros((1, 8), np.float32)).values()
    assert np.abs(got).max() < 0.02


def test_padding_within_a_sample_does_not_spoil_the_range_of_the_root():
    x = zoo.normal(40, 5, 8)
    x[:, 3:] = 0
    inputs = layers.Input((5, 8))
    model = keras.Model(inputs, layers.Dense(3)(layers.UnitNormalization()(inputs)))
    assert snr(convert(model, "int8", x), model, x) > 25


def test_a_bound_that_values_reach_belongs_to_the_range():
    """1 is the root of most rows here; left out, they would all be cut off at the largest of the others."""
    x = zoo.normal(60, 4) * 0.4
    model = model_of(lambda x: layers.Dense(1)(ops.rsqrt(ops.maximum(ops.sum(x * x, -1, keepdims=True), 1.0))), 4)
    assert snr(convert(model, "int8", x), model, x) > 20


def test_training_leaves_the_roots_of_zeros_out_of_the_range_too():
    x = rows(64, 8)
    model = model_of(lambda x: layers.Dense(3)(layers.UnitNormalization()(layers.Dense(6, use_bias=False)(x))))
    model.compile("sgd", "mse", jit_compile=False)
    aware = QuantizationAware(x, momentum=0.5)
    model.fit(x, np.asarray(model(x)), epochs=1, verbose=0, callbacks=[aware])
    assert aware.convert().figures["calibration_snr_db"] > 20


def test_the_root_is_bounded_before_it_is_taken():
    found = [op.name for op in to_float(model_of(layers.UnitNormalization())).ops]
    assert found == ["SQUARE", "SUM", "MAXIMUM", "RSQRT", "MUL"]


@pytest.mark.parametrize("layer", [layers.LayerNormalization(), layers.RMSNormalization(), lambda x: ops.minimum(x, 2)])
def test_other_roots_and_bounds_are_left(layer):
    assert "MAXIMUM" not in [op.name for op in to_float(model_of(layer)).ops]


def test_the_ops_still_belong_to_their_layer():
    source = to_float(model_of(layers.UnitNormalization(name="unit")))
    assert {place.path for places in source.owners for place in places} == {"unit"}
    assert not any("layer." in tensor.name for op in read(source.content).ops for tensor in op.outputs)

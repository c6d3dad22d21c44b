"""Ops that TFLite does not have, computed by ops that it has."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tfopt.errors import ConversionError
from tfopt.quantization import convert, quantize_aware
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.float_conversion import to_float
from tfopt.quantization.op_replacement import erf
from tfopt.recipe.export import Export
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


def behind(function):
    inputs = layers.Input((8,), name="x")
    return keras.Model(inputs, function(layers.Dense(5)(inputs)))


def samples(count=64):
    return np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)


def output_of(content, x):
    [value] = Runner(content)({"x": x}).values()
    return value


def names(content):
    return [op.name for op in read(content).ops]


def test_the_error_function_is_exact_in_float32():
    x = np.concatenate([np.linspace(-6, 6, 20001), [0.0, -0.0, 1e-30, 1e30]]).astype(np.float32)
    expected = np.array([math.erf(value) for value in x])
    np.testing.assert_allclose(erf(x).numpy(), expected, rtol=5e-7, atol=0)


@pytest.mark.parametrize("function", [ops.erf, tf.math.erf, lambda x: ops.erf(ops.gelu(x, approximate=False))])
def test_a_model_with_an_error_function_has_a_file(function):
    model = behind(function if function is not tf.math.erf else layers.Lambda(tf.math.erf))
    x = samples()
    np.testing.assert_allclose(output_of(convert(model, "float32"), x), model(x), atol=2e-6)


def test_the_exact_gelu_stays_one_op():
    alone = behind(lambda x: ops.gelu(x, approximate=False))
    assert names(convert(alone, "float32")) == ["FULLY_CONNECTED", "GELU"]
    assert not to_float(alone).replaced
    assert "GELU" in names(convert(behind(lambda x: ops.erf(ops.gelu(x, approximate=False))), "float32"))


@pytest.mark.parametrize(("mode", "least"), [("int8", 25), ("int16x8", 40), ("int4", 10), ("dynamic", 35)])
def test_an_error_function_stays_in_float_in_every_mode(mode, least):
    converted = convert_with_notes(behind(lambda x: layers.Dense(4)(ops.erf(x))), Export(mode=mode), samples())
    assert converted.figures["calibration_snr_db"] > least
    if mode != "dynamic":
        assert {s.reason.partition(":")[0] for s in converted.skipped} == {"its values are too small for integers"}


def test_training_for_quantization_leaves_an_error_function_in_float():
    model, x = behind(lambda x: layers.Dense(4)(ops.erf(x))), samples()
    aware = quantize_aware(model, "int8", calibration=x)
    model.compile("sgd", "mse")
    model.fit(x, x[:, :4], epochs=1, verbose=0)
    simulated, converted = model.predict(x, verbose=0), aware.convert()
    aware.strip()
    scale = float(np.diff(np.unique(output_of(converted.content, x))).min())
    assert np.abs(output_of(converted.content, x) - simulated).max() <= 1.01 * scale


@pytest.mark.parametrize("function", [ops.argmax, ops.argmin])
@pytest.mark.parametrize("axis", [-1, 1])
def test_an_argmax_is_one_op(function, axis):
    model, x = behind(lambda x: function(ops.reshape(x, (-1, 5)), axis)), samples()
    content = convert(model, "float32")
    assert names(content)[-1] in ("ARG_MAX", "ARG_MIN")
    assert not {"BITCAST", "SELECT_V2", "LOGICAL_AND"} & set(names(content))
    np.testing.assert_array_equal(output_of(content, x), model(x))


def test_a_choice_by_the_sign_bit_that_is_not_keras_own_is_kept():
    class Chosen(layers.Layer):
        def call(self, x):
            low = tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), tf.int32.min) < 0
            return tf.where(tf.logical_and(x == 0, low), 7.0, x)

    with pytest.raises(ConversionError, match=r"\(Chosen\) computes with tf\.BitwiseAnd"):
        convert(behind(Chosen(name="chosen")), "float32")


@pytest.mark.parametrize("mode", ["multi_hot", "count"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_categories_of_several_columns_are_what_keras_gives(mode, dtype):
    inputs = layers.Input((4,), dtype=dtype, name="x")
    model = keras.Model(inputs, layers.CategoryEncoding(7, output_mode=mode)(inputs))
    x = np.array([[0, 6, 6, 2], [3, 3, 3, 3], [5, 0, 1, 2]], dtype)
    np.testing.assert_array_equal(output_of(convert(model, "float32"), x), model(x))


def test_categories_count_as_their_weights():
    inputs = [layers.Input((3,), dtype="int32", name="x"), layers.Input((3,), name="weights")]
    encoding = layers.CategoryEncoding(5, output_mode="count")
    model = keras.Model(inputs, encoding(inputs[0], count_weights=inputs[1]))
    x, weights = np.array([[0, 4, 4], [1, 2, 3]], np.int32), np.array([[1, 2, 0.5], [3, 0, 1]], np.float32)
    [value] = Runner(convert(model, "float32"))({"x": x, "weights": weights}).values()
    np.testing.assert_array_equal(value, model([x, weights]))


def text_classifier():
    """A classifier of texts of 12 ids, of which 0 is padding, that takes the mean of the words there are."""
    keras.utils.set_random_seed(0)
    inputs = layers.Input((12,), dtype="int32", name="words")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(50, 16, mask_zero=True)(inputs))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Dense(8, activation="relu")(x)))


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quotients_stay_in_float_so_that_an_empty_text_ends_no_process(mode):
    draw = np.random.default_rng(0)
    words = draw.integers(1, 50, (64, 12)).astype(np.int32)
    words[np.arange(12) >= draw.integers(1, 13, (64, 1))] = 0
    made = convert_with_notes(text_classifier(), Export(mode=mode, least_snr_db=-100), words)
    [quotient] = [op for op in read(made.content).ops if op.name == "DIV"]
    assert quotient.floating
    assert any("in integers a divisor may round to 0" in reason for reason in (one.reason for one in made.skipped))
    got = Runner(made.content)({"words": np.zeros((1, 12), np.int32)})  # LiteRT refuses a quotient by an integer 0
    assert len(got) == 1


def test_quotients_by_constants_are_quantized():
    content = convert(behind(lambda x: x / np.arange(1, 6, dtype=np.float32)), "int8", samples())
    assert all(op.integers for op in read(content).ops if op.name in ("DIV", "MUL", "FULLY_CONNECTED"))

"""LSTMs of random configurations against Keras, on LiteRT and on TFLM."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from tests.quantization.recurrent.recurrent_nets import (
    LSTM,
    READS,
    by_keras,
    needs_tflm,
    on_tflm,
    snr_db,
    to_float_once,
)
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite.interpreter import Runner

# Some of them run on TFLM, which takes a process each.
RUNS = {"suppress_health_check": list(HealthCheck), "deadline": None, "derandomize": True}


@st.composite
def stacks(draw):
    """The layers of a model, its steps and inputs, and a seed."""
    count, found = draw(st.integers(1, 3)), []
    for number in range(count):
        every = number + 1 < count or draw(st.booleans())
        setting = {"return_sequences": every, "use_bias": draw(st.booleans())}
        setting["unit_forget_bias"] = draw(st.booleans())
        own = {**setting, "units": draw(st.integers(1, 9)), "go_backwards": draw(st.booleans())}
        found.append((own, draw(st.sampled_from([None, None, "concat", "sum", "ave"]))))
    return found, draw(st.integers(1, 12)), draw(st.integers(1, 7)), draw(st.integers(0, 2**16))


def build(stack):
    found, steps, inputs, seed = stack
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([layers.Input((steps, inputs), name="x")])
    for own, merged in found:
        if merged:
            model.add(layers.Bidirectional(layers.LSTM(**{**own, "go_backwards": False}), merge_mode=merged))
        else:
            model.add(layers.LSTM(**own))
    generator = np.random.default_rng(seed)
    for weight in model.weights:  # Keras draws no biases
        weight.assign(weight.numpy() + generator.normal(0, 0.2, weight.shape))
    return model, {"x": generator.normal(size=(40, steps, inputs)).astype(np.float32)}


def check(stack, tflm):
    model, samples = build(stack)
    few = {"x": samples["x"][:8]}
    READS.admit(model)
    expected = by_keras(model, few)
    for mode in ("float32", "int8"):
        prepared = prepare(model, Export(mode=mode, recurrent="fused"), samples, convert=to_float_once)
        content = prepared.file
        assert [op.name for op in prepared.source.ops].count(LSTM) == sum(2 if merged else 1 for _, merged in stack[0])
        outputs = [next(iter(Runner(content)(few).values()))]
        outputs += [on_tflm(content, few)] if tflm else []
        for found in outputs:
            if mode == "float32":
                assert np.abs(found - expected).max() < 1e-4
            else:
                assert snr_db(expected, found) > 25


@settings(max_examples=2, **RUNS)
@given(stacks())
def test_some_random_lstms_are_right(stack):
    check(stack, tflm=False)


@needs_tflm
@settings(max_examples=1, **RUNS)
@given(stacks())
def test_few_random_lstms_are_right_on_tflm(stack):
    check(stack, tflm=True)


@pytest.mark.slow
@needs_tflm
@settings(max_examples=10, **RUNS)
@given(stacks())
def test_many_random_lstms_are_right_on_tflm(stack):
    check(stack, tflm=True)


# The converter of TensorFlow makes the same op of tf_keras's layers


@functools.cache
def twins():
    """A Keras 3 model, its twin in tf_keras with its weights, and samples."""
    tf_keras = pytest.importorskip("tf_keras")
    model = keras.Sequential(
        [layers.Input((10, 4), name="x"), layers.LSTM(8, return_sequences=True), layers.LSTM(6), layers.Dense(3)]
    )
    generator = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.4, weight.shape))
    inputs = tf_keras.Input((10, 4), batch_size=1, name="x")
    hidden = tf_keras.layers.LSTM(6)(tf_keras.layers.LSTM(8, return_sequences=True)(inputs))
    twin = tf_keras.Model(inputs, tf_keras.layers.Dense(3)(hidden))
    twin.set_weights(model.get_weights())
    return model, twin, generator.normal(size=(64, 10, 4)).astype(np.float32)


def by_converter(twin, x, integers):
    """The file that TFLiteConverter makes of a tf_keras model, in float or in int8."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(twin)
    if integers:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in x)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_file_is_as_good_as_the_one_of_the_converter_for_the_twin(mode):
    model, twin, x = twins()
    theirs = by_converter(twin, x, mode == "int8")
    prepared = prepare(model, Export(mode=mode, recurrent="fused"), {"x": x})
    expected, [mine], [other] = by_keras(model, {"x": x}), *(Runner(c)(x).values() for c in (prepared.file, theirs))
    if mode == "float32":
        assert np.abs(mine - other).max() < 1e-5
    else:
        assert snr_db(expected, mine) > snr_db(expected, other) - 3
        assert snr_db(expected, mine) > 30

"""Outputs and inputs of a quantized file that are read both as integers and in floating point."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfopt
from tests.quantization.selecting_zoo import draw, embedding, features, ids
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner

HEADS = {
    "leaky relu": lambda y: layers.LeakyReLU()(y),
    "reversed": lambda y: ops.flip(y, -1),
    "largest": lambda y: ops.max(y, -1),
    "softmax": lambda y: layers.Softmax()(y),
    "dense": lambda y: layers.Dense(3, name="head")(y),
}


def checked(model, x, mode, **settings):
    """The bytes of a file whose outputs are those of Keras within its grid, on both of LiteRT's kernels."""
    content = tfopt.convert(model, mode, calibration=x, **settings)
    for delegate in (True, False):
        got = Runner(content, delegate=delegate)(x)
        for mine, theirs in zip(got.values(), model(x), strict=True):
            assert np.abs(mine - np.asarray(theirs)).max() < 0.05 * np.abs(theirs).max()
    return content


@pytest.mark.parametrize("settings", [{}, {"io": "float32"}, {"batch": "any"}], ids=str)
@pytest.mark.parametrize("mode", ["int8", "int16x8"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.sample(8)
def test_an_output_that_is_read_again_is_what_keras_gives(head, mode, settings):
    model, x = features(HEADS[head])
    content = checked(model, x, mode, **settings)
    floats = settings.get("io") == "float32"
    wanted = "FLOAT32" if floats else mode.removesuffix("x8").upper()
    assert read(content).outputs["features"][0] == wanted
    parsed = flatbuffer.parse(content)
    assert list(parsed.subgraphs[0].outputs) == [entry.tensorIndex for entry in parsed.signatureDefs[0].outputs]


def test_a_head_that_a_rule_keeps_in_float_reads_the_integers():
    model, x = features(HEADS["dense"])
    content = checked(model, x, "int8", rules=[{"layers": "head", "to": "float"}])
    assert [dtype for dtype, _ in read(content).outputs.values()] == ["INT8", "INT8"]


def test_a_file_with_no_such_output_is_as_the_quantizer_made_it(monkeypatch):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(3)])
    x = draw().normal(size=(32, 6)).astype("float32")
    repaired = tfopt.convert(model, "int8", calibration=x)
    monkeypatch.setattr("tfopt.quantization.quantizer.settled", lambda content, *_: content)
    assert tfopt.convert(model, "int8", calibration=x) == repaired


def test_a_model_of_attention_alone_is_quantized():
    x = keras.Input((6, 8), name="x")
    model = keras.Model(x, layers.Attention()([x, x]))
    samples = draw().normal(size=(32, 6, 8)).astype("float32")
    content = tfopt.convert(model, "int8", calibration=samples)
    assert all(op.integers for op in read(content).ops)


def test_an_input_that_ops_in_float_read_too_is_an_integer_beside_one_of_ids():
    who, x = keras.Input((3,), name="who"), keras.Input((6,), name="x")
    pooled = layers.GlobalAveragePooling1D()(embedding(500)(ops.round(who)))
    model = keras.Model([who, x], [layers.Dense(3)(layers.Concatenate()([pooled, x])), ops.flip(x, -1)])
    samples = {"who": ids(500, 3), "x": draw().normal(size=(64, 6)).astype("float32")}
    content = tfopt.convert(model, "int8", calibration=samples)
    assert {name: dtype for name, (dtype, _) in read(content).inputs.items()} == {"who": "FLOAT32", "x": "INT8"}
    for delegate in (True, False):
        got = Runner(content, delegate=delegate)(samples)
        for mine, theirs in zip(got.values(), model(samples), strict=True):
            assert np.abs(mine - np.asarray(theirs)).max() < 0.05 * np.abs(theirs).max()

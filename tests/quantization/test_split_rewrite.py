"""A SPLIT with a piece that nothing reads becomes slices that compute the same."""

import numpy as np
import pytest
import tensorflow as tf

from tests.quantization import zoo
from tfopt.output_capture import captured
from tfopt.quantization.split_rewrite import cut_splits
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


def splitting(axis, pieces, shape=(1, 6, 8)):
    """A file that splits its input in four and adds up some of the pieces; and NumPy's own answer."""

    def function(x):
        parts = tf.split(x, 4, axis)
        return sum(parts[i] * (i + 1) for i in pieces)

    def expected(x):
        parts = np.split(x, 4, axis)
        return sum(parts[i] * (i + 1) for i in pieces)

    with captured():
        concrete = tf.function(function).get_concrete_function(tf.TensorSpec(shape, name="x"))
        parsed = flatbuffer.parse(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    flatbuffer.with_signature(parsed, ["x"], ["y"])
    return parsed, expected


def names(parsed):
    return [op.name for op in read(flatbuffer.pack(parsed)).ops]


@pytest.mark.parametrize("pieces", [(0,), (3,), (1, 2), (0, 3), (0, 1, 3)])
@pytest.mark.parametrize(("axis", "shape"), [(2, (1, 6, 8)), (-1, (1, 6, 8)), (1, (1, 8, 3)), (-2, (1, 8, 3))])
@pytest.mark.sample(8)
def test_slices_take_the_place_of_a_split_and_give_its_pieces(axis, shape, pieces):
    parsed, expected = splitting(axis, pieces, shape)
    assert "SPLIT" in names(parsed)
    cut_splits(parsed)
    assert [name for name in names(parsed) if name in ("SPLIT", "STRIDED_SLICE")] == ["STRIDED_SLICE"] * len(pieces)
    x = zoo.normal(*shape)
    for delegate in (True, False):
        got = Runner(flatbuffer.pack(parsed), delegate=delegate)(x)["y"]
        np.testing.assert_allclose(got, expected(x), rtol=1e-6)


def test_splits_of_an_old_file_are_cut_too():
    """Its op codes stand in the deprecated field alone."""
    parsed, expected = splitting(2, (0, 3))
    for code in parsed.operatorCodes:
        code.builtinCode = 0
    cut_splits(parsed)
    assert [name for name in names(parsed) if name in ("SPLIT", "STRIDED_SLICE")] == ["STRIDED_SLICE"] * 2
    x = zoo.normal(1, 6, 8)
    np.testing.assert_allclose(Runner(flatbuffer.pack(parsed))(x)["y"], expected(x), rtol=1e-6)


def test_a_split_whose_pieces_are_all_read_is_left(built):
    parsed, _ = splitting(2, (0, 1, 2, 3))
    before = names(parsed)
    cut_splits(parsed)
    assert names(parsed) == before


@pytest.mark.parametrize("name", ["lstm unrolled", "gru unrolled"])
def test_an_unrolled_layer_has_its_first_split_cut_alone(built, converted, name):
    found = [op.name for op in converted.prepared(name).source.ops]
    assert "STRIDED_SLICE" in found
    assert "SPLIT" in found
    assert zoo.error(converted(name).content, *built(name)) < 0.035

"""Which ops and inputs of a float file compute identities."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.quantization.selecting_zoo import ZOO, embedding, ids
from tfopt.quantization.float_conversion import to_float
from tfopt.quantization.identities import with_integer_inputs
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite.file import read


def kept(model):
    """Names of the ops that stay in float, and the activations that hold identities."""
    source = to_float(model)
    return [source.ops[i].name for i in sorted(source.identities.ops)], source.identities.tensors


def types(name, **settings):
    model, x = ZOO[name]()
    made = read(prepare(model, Export(mode="int8", **settings), x).quantized())
    return {key: dtype for key, (dtype, _) in made.inputs.items()}


def test_what_leads_to_a_cast_is_kept_and_what_comes_after_is_not():
    x = keras.Input((4,), name="x")
    y = embedding(90)(ops.cast(ops.floor(x / 10), "int32"))
    assert kept(keras.Model(x, layers.Dense(3)(layers.Flatten()(y))))[0] == ["MUL", "FLOOR"]


def test_an_op_with_a_kernel_is_kept_where_only_ids_are_made_of_it():
    x = keras.Input((4,), name="x")
    first = layers.Dense(8, activation="relu")(x)
    second = layers.Dense(2)(first)
    alone = layers.Flatten()(embedding(9)(ops.cast(second, "int32")))
    assert kept(keras.Model(x, layers.Dense(3)(alone)))[0] == ["FULLY_CONNECTED"]
    both = layers.Concatenate()([alone, second])
    assert kept(keras.Model(x, layers.Dense(3)(both)))[0] == ["CONCATENATION"]


@pytest.mark.parametrize(("mark", "found"), [(0.0, False), (-1.0, True)])
def test_a_comparison_with_0_is_exact_on_every_grid_and_no_other_is(mark, found):
    x = keras.Input((4,), name="x")
    y = ops.where(ops.equal(x, mark), 0.0, layers.Dense(4)(x))
    ops_kept, tensors = kept(keras.Model(x, layers.Dense(2)(y)))
    assert ("EQUAL" in ops_kept) == ("x" in tensors) == found


def test_a_model_of_quantities_has_none():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten()])
    assert kept(model) == ([], frozenset())


def test_an_input_of_nothing_but_ids_is_an_integer():
    assert types("two inputs of numbers and ids") == {"numbers": "INT8", "who": "INT32"}
    assert list(types("table of many categories").values()) == ["FLOAT32"]


def test_ids_that_are_compared_with_the_0_of_padding_are_integers_too():
    model, x = ZOO["padded ids with a mask"]()
    made = read(prepare(model, Export(mode="int8"), x).quantized())
    assert [dtype for dtype, _ in made.inputs.values()] == ["INT32"]
    assert not [op.name for op in made.ops if op.name in ("CAST", "NOT_EQUAL") and op.inputs[0].dtype == "FLOAT32"]
    made = read(prepare(model, Export(mode="int8"), x + 0.25).quantized())
    assert [dtype for dtype, _ in made.inputs.values()] == ["FLOAT32"]


def test_as_asked_all_inputs_are_floats():
    assert types("two inputs of numbers and ids", io="float32") == {"numbers": "FLOAT32", "who": "FLOAT32"}


def test_other_inputs_beside_a_float_one_are_quantized():
    who, x = keras.Input((3,), name="who"), keras.Input((6,), name="x")
    pooled = layers.GlobalAveragePooling1D()(embedding(500)(ops.round(who)))
    model = keras.Model([who, x], layers.Dense(3)(layers.Concatenate()([pooled, x])))
    samples = {"who": ids(500, 3), "x": np.random.default_rng(0).normal(size=(64, 6)).astype("float32")}
    made = read(prepare(model, Export(mode="int8"), samples).quantized())
    assert {name: dtype for name, (dtype, _) in made.inputs.items()} == {"who": "FLOAT32", "x": "INT8"}


def test_a_cast_that_is_an_output_keeps_the_input_a_float():
    x = keras.Input((3,), name="x")
    y = ops.cast(x, "int32")
    content = to_float(keras.Model(x, [y, embedding(9)(y)])).content
    assert with_integer_inputs(content, {"x": ids(9, 3)}) == (content, (), ())


def test_the_cast_is_gone_with_an_integer_input():
    source = to_float(ZOO["ids without a dtype"]()[0])
    content, gone, names = with_integer_inputs(source.content, {source.inputs[0]: ids(9, 12)})
    assert [source.ops[i].name for i in gone] == ["CAST"]
    assert len(names) == 1
    assert "CAST" not in [op.name for op in read(content).ops]

"""What each mode stores and computes in, and how close it stays to Keras."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tests.quantization.shared_conversions import Conversions
from tfopt.errors import ConversionError, InputError
from tfopt.quantization import convert
from tfopt.recipe.modes import MODES
from tfopt.tflite.file import read

# Largest error allowed, as a share of the largest output.
TOLERANCE = {
    "float32": 1e-5,
    "float16": 1e-3,
    "dynamic": 0.015,
    "weight_only": 0.01,
    "int8": 0.035,
    "int16x8": 0.01,
    "int4": 0.2,
}
STATIC = {"int8": "INT8", "int16x8": "INT16", "int4": "INT8"}
FLOATING = [mode for mode in TOLERANCE if mode not in STATIC]


def kernels(content):
    return [t for t in read(content).tensors if t.parameter and len(t.shape) > 1]


def ends(content):
    summary = read(content)
    return {dtype for dtype, _ in (*summary.inputs.values(), *summary.outputs.values())}


def test_every_mode_has_a_tolerance():
    assert list(TOLERANCE) == list(MODES)


@pytest.mark.parametrize("mode", ["float16", "weight_only", "int16x8", "int4"])
@pytest.mark.parametrize(
    "name", ["conv2d", "depthwise", "swish", "attention", "lists in and out", "nested", "subclassed", "shared layer"]
)
@pytest.mark.sample(12)
def test_the_file_gives_what_keras_gives(built, converted, name, mode):
    """The other modes are those of the zoo."""
    assert zoo.error(converted(name, mode).content, *built(name)) < TOLERANCE[mode]


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [
        ("float32", "FLOAT32"),
        ("float16", "FLOAT16"),
        ("dynamic", "INT8"),
        ("weight_only", "INT8"),
        ("int8", "INT8"),
        ("int16x8", "INT8"),
        ("int4", "INT4"),
    ],
)
def test_kernels_are_stored_in_the_type_of_the_mode(converted, mode, dtype):
    assert [tensor.dtype for tensor in kernels(converted("conv2d", mode).content)] == [dtype] * 2


@pytest.mark.parametrize("mode", TOLERANCE)
def test_no_parameter_is_lost(pruned, converted_pruned, mode):
    model, _ = pruned
    assert read(converted_pruned(mode).content).parameters == model.count_params()


@pytest.mark.parametrize("mode", STATIC)
def test_modes_of_integers_compute_in_integers_throughout(converted, mode):
    assert [op.name for op in read(converted("depthwise", mode).content).ops if op.floating] == []


@pytest.mark.parametrize("mode", ["weight_only", "float16"])
def test_modes_that_store_smaller_weights_alone_compute_in_float(converted, mode):
    computing = [op for op in read(converted("conv2d", mode).content).ops if op.name != "DEQUANTIZE"]
    assert all(op.floating for op in computing)


def test_int4_falls_back_to_int8_where_there_is_no_kernel_of_it(converted):
    ops = read(converted("depthwise", "int4").content).ops
    found = [(op.name, op.kernels[0].dtype) for op in ops if op.kernels]
    assert found == [("DEPTHWISE_CONV_2D", "INT8"), ("FULLY_CONNECTED", "INT4")]


def test_files_get_smaller_from_mode_to_mode():
    model, samples = zoo.chain((64,), layers.Dense(128, activation="relu"), layers.Dense(64))
    convert = Conversions(lambda name: (model, samples))
    sizes = [len(convert("wide", mode).content) for mode in ("float32", "float16", "int8", "int4")]
    assert all(after < 0.65 * before for before, after in itertools.pairwise(sizes))


# Inputs and outputs


@pytest.mark.parametrize("name", ["conv2d", "lists in and out"])
@pytest.mark.parametrize("mode", STATIC)
def test_inputs_and_outputs_of_integers_are_the_modes_own_or_float(built, converted, name, mode):
    for io, dtype in ((None, STATIC[mode]), (STATIC[mode].lower(), STATIC[mode]), ("float32", "FLOAT32")):
        content = converted(name, mode, io=io).content
        assert ends(content) == {dtype}
        assert zoo.error(content, *built(name)) < TOLERANCE[mode]


@pytest.mark.parametrize("mode", FLOATING)
def test_inputs_and_outputs_of_the_other_modes_are_the_models_own(converted, mode):
    assert ends(converted("conv2d", mode).content) == {"FLOAT32"}


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_token_ids_stay_integers(converted, io):
    summary = read(converted("embedding", "int8", io=io).content)
    assert [dtype for dtype, _ in summary.inputs.values()] == ["INT32"]
    assert [dtype for dtype, _ in summary.outputs.values()] == [io.upper()]


@pytest.mark.parametrize(("mode", "io"), [("int8", "int16"), ("int16x8", "int8"), ("int4", "int16"), ("int8", "uint8")])
def test_inputs_of_another_type_than_the_modes_are_refused(built, one_line, mode, io):
    model, samples = built("conv2d")
    with pytest.raises(InputError, match=f"Received: '?{io}") as caught:
        convert(model, mode, samples, io=io)
    one_line(caught)


@pytest.mark.parametrize("mode", FLOATING)
def test_a_type_of_inputs_is_refused_where_there_is_no_choice(built, one_line, mode):
    with pytest.raises(InputError, match="io is for modes that compute in integers") as caught:
        convert(built("conv2d")[0], mode, io="float32")
    one_line(caught)


@pytest.mark.parametrize("mode", ["int2", "INT8", "", "float", "dynamc"])
def test_an_unknown_mode_is_refused_with_those_there_are(built, one_line, mode):
    with pytest.raises(InputError, match=r"mode.*weight_only") as caught:
        convert(built("conv2d")[0], mode)
    assert repr(mode) in one_line(caught)
    assert caught.value.field == ("mode",)


# Batch


@pytest.mark.parametrize("mode", ["float32", "dynamic", "int8"])
@pytest.mark.parametrize("name", ["conv2d", "lists in and out", "attention", "lstm unrolled"])
@pytest.mark.sample(6)
def test_a_file_of_four_samples_at_once_gives_what_keras_gives(built, converted, name, mode):
    model, samples = built(name)
    content = converted(name, mode, batch=4).content
    assert {shape[0] for _, shape in read(content).inputs.values()} == {4}
    assert zoo.error(content, model, samples) < TOLERANCE[mode]
    few = {key: array[:3] for key, array in zoo.by_name(model, samples).items()}
    assert zoo.error(content, model, few) < 0.05


@pytest.mark.parametrize("mode", ["float32", "dynamic", "int8"])
@pytest.mark.parametrize("name", ["conv2d", "lists in and out", "attention"])
def test_an_input_of_any_batch_is_resized_on_litert(built, converted, name, mode):
    from ai_edge_litert.interpreter import Interpreter

    content = converted(name, mode, batch="any").content
    assert zoo.error(content, *built(name)) < TOLERANCE[mode]
    interpreter = Interpreter(model_content=content)
    for size in (1, 7):
        for detail in interpreter.get_input_details():
            assert detail["shape_signature"][0] == -1
            interpreter.resize_tensor_input(detail["index"], (size, *detail["shape"][1:]))
        interpreter.allocate_tensors()
        interpreter.invoke()
        assert {len(interpreter.get_tensor(detail["index"])) for detail in interpreter.get_output_details()} == {size}


@pytest.mark.parametrize("batch", [0, -1, "some"])
def test_a_batch_that_is_no_number_of_samples_is_refused(built, batch):
    with pytest.raises(InputError, match="batch"):
        convert(built("conv2d")[0], "float32", batch=batch)


# What stays in float


@pytest.mark.parametrize("mode", ["float16", "dynamic", "weight_only"])
def test_a_table_that_stays_in_float_is_listed(converted, mode):
    [left] = converted("embedding", mode).skipped
    assert left.where.startswith("GATHER")
    assert mode in left.reason


@pytest.mark.parametrize("mode", STATIC)
def test_ops_that_stay_in_float_are_listed(converted, mode):
    made = converted("attention", mode)
    floating = [op.name for op in read(made.content).ops if op.floating]
    assert len(floating) > 0
    assert [left.where.split()[0] for left in made.skipped] == floating


@pytest.mark.parametrize(("name", "mode"), [*(("conv2d", mode) for mode in TOLERANCE), ("attention", "float32")])
def test_nothing_is_listed_where_nothing_was_left(converted, name, mode):
    assert converted(name, mode).skipped == ()


@pytest.mark.parametrize("mode", ["float16", "dynamic", "weight_only"])
def test_a_mode_that_would_change_nothing_is_refused(one_line, mode):
    model = keras.Sequential([layers.Input((6,), dtype="int32"), layers.Embedding(20, 4)])
    with pytest.raises(ConversionError, match=f"nothing.*{mode}") as caught:
        convert(model, mode, np.zeros((2, 6), np.int32))
    one_line(caught)

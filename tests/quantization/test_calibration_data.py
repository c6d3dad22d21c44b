"""Calibration samples in every form they come in; the wrong ones are refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.quantization import zoo
from tfopt.errors import ConversionError, DataError, InputError
from tfopt.quantization import convert
from tfopt.quantization.calibration_data import MOST, OPEN, collect_samples, match_inputs, random_samples
from tfopt.tflite.interpreter import Runner

TARGETS = np.zeros(zoo.SAMPLES, np.int32)
slices = tf.data.Dataset.from_tensor_slices


@pytest.fixture(scope="module")
def one(built, converted):
    """A model of one input, its samples, and the file that the array of them gives."""
    return *built("conv2d"), converted("conv2d").content


@pytest.fixture(scope="module")
def two(built, converted):
    """The same of two inputs, with the samples as a dict."""
    return *built("lists in and out"), converted("lists in and out").content


@pytest.fixture(scope="module")
def check_calibrates_alike(converted):
    """Checks that a conversion is calibrated on the samples of the zoo, bit for bit, in whatever form it gets them."""

    def check(name, samples):
        prepared = converted.prepared(name)
        names = [tensor.name for tensor in prepared.model.inputs]
        details = Runner(prepared.source.content).inputs
        found = match_inputs(collect_samples(samples, prepared.model), names, details)
        assert list(found) == list(prepared.samples)
        for key, array in prepared.samples.items():
            assert found[key].dtype == array.dtype
            np.testing.assert_array_equal(found[key], array)

    return check


FORMS_OF_ONE = {
    "list of one array": lambda x: [x],
    "tuple of one array": lambda x: (x,),
    "list of single samples": list,
    "float64": lambda x: x.astype(np.float64),
    "without the axis of 1": lambda x: x[..., 0],
    "tensor": tf.constant,
    "unbatched": slices,
    "batched": lambda x: slices(x).batch(7),
    "unbatched with targets": lambda x: slices((x, TARGETS)),
    "batched with targets": lambda x: slices((x, TARGETS)).batch(7),
    "batched with targets and weights": lambda x: slices((x, TARGETS, TARGETS)).batch(7),
    "tuple of one": lambda x: slices((x,)).batch(7),
}


@pytest.mark.parametrize("form", FORMS_OF_ONE)
def test_samples_of_one_input_calibrate_alike_in_every_form(one, check_calibrates_alike, form):
    check_calibrates_alike("conv2d", FORMS_OF_ONE[form](one[1]))


@pytest.mark.parametrize("form", FORMS_OF_ONE)
@pytest.mark.sample(3)
def test_samples_of_one_input_give_the_same_file_in_every_form(one, form):
    model, samples, expected = one
    assert convert(model, "int8", FORMS_OF_ONE[form](samples)) == expected


def test_samples_of_one_input_can_be_a_dict_by_its_name(one):
    model, samples, expected = one
    assert convert(model, "int8", {model.inputs[0].name: samples}) == expected


FORMS_OF_TWO = {
    "list": lambda s: [s["b"], s["a"]],
    "tuple": lambda s: (s["b"], s["a"]),
    "unbatched": slices,
    "batched": lambda s: slices(s).batch(7),
    "unbatched with targets": lambda s: slices((s, TARGETS)),
    "batched with targets": lambda s: slices((s, TARGETS)).batch(7),
    "batched tuples with targets": lambda s: slices(((s["b"], s["a"]), TARGETS)).batch(7),
}


@pytest.mark.parametrize("form", FORMS_OF_TWO)
def test_samples_of_two_inputs_calibrate_alike_in_every_form(two, check_calibrates_alike, form):
    check_calibrates_alike("lists in and out", FORMS_OF_TWO[form](two[1]))


@pytest.mark.parametrize("form", FORMS_OF_TWO)
@pytest.mark.sample(2)
def test_samples_of_two_inputs_give_the_same_file_in_every_form(two, form):
    model, samples, expected = two
    assert convert(model, "int8", FORMS_OF_TWO[form](samples)) == expected


@pytest.mark.parametrize("batch", [None, 16], ids=["unbatched", "batched"])
def test_of_an_infinite_dataset_the_first_samples_are_taken(one, batch):
    model, samples, _ = one
    endless = slices(samples).repeat()
    taken = collect_samples(endless if batch is None else endless.batch(batch), model)
    assert len(taken) == MOST
    np.testing.assert_array_equal(taken, np.resize(samples, (MOST, *samples.shape[1:])))


def test_samples_of_a_subclassed_model_show_its_input(built, converted):
    model, samples = built("subclassed")
    assert convert(model, "int8", slices(samples).batch(7)) == converted("subclassed").content


def test_a_list_of_images_of_one_size_does_for_a_model_of_open_size(built, converted):
    model, samples = built("image of any size")
    assert convert(model, "int8", list(samples)) == converted("image of any size").content


@pytest.mark.parametrize("name", ["conv2d", "lists in and out", "dicts in and out", "attention"])
@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "weight_only"])
@pytest.mark.sample(3)
def test_modes_without_calibration_need_no_samples(built, converted, name, mode):
    model, _ = built(name)
    assert convert(model, mode) == converted(name, mode).content


def test_int8_sees_the_largest_value_of_every_calibration_sample():
    """The first sample reaches ten times farther than the rest: a range that forgets it would cut it off."""
    model, x = zoo.chain((4,), layers.Dense(3, use_bias=False))
    x[0] *= 10
    assert zoo.error(convert(model, "int8", x), model, x[:1]) < 0.03


@pytest.mark.parametrize("mode", ["int8", "int16x8", "int4"])
@pytest.mark.parametrize(
    "samples",
    [
        None,
        np.zeros((0, 8, 8, 1), np.float32),
        [],
        {},
        {"x": np.zeros((0, 8, 8, 1), np.float32)},
        slices([1.0]).take(0),
    ],
    ids=["none", "empty array", "empty list", "empty dict", "dict of empty", "empty dataset"],
)
def test_a_mode_of_integers_without_samples_is_refused(built, one_line, mode, samples):
    with pytest.raises(InputError, match=f"{mode}.*calibration") as caught:
        convert(built("conv2d")[0], mode, samples)
    one_line(caught)
    assert caught.value.field == ("mode",)


@pytest.mark.parametrize("wrap", [np.array, lambda x: slices(x).batch(2)], ids=["array", "dataset"])
@pytest.mark.parametrize("shape", [(5, 8, 8, 3), (5, 7, 8, 1), (5, 64)])
@pytest.mark.sample(4)
def test_samples_of_another_shape_are_refused_with_both_shapes(built, one_line, shape, wrap):
    with pytest.raises(DataError, match=r"\(8, 8, 1\)") as caught:
        convert(built("conv2d")[0], "int8", wrap(np.zeros(shape, np.float32)))
    assert ", ".join(str(n) for n in shape[1:]) in one_line(caught)


def test_a_single_sample_that_is_not_in_a_list_is_refused(built, one_line):
    with pytest.raises(DataError, match=r"\(8, 8, 1\)") as caught:
        convert(built("conv2d")[0], "int8", np.zeros((8, 8, 1), np.float32))
    one_line(caught)


@pytest.mark.parametrize("samples", [5, "path", [1, 2], iter([np.zeros((8, 8, 1))]), lambda: None])
def test_what_is_no_samples_at_all_is_refused(built, one_line, samples):
    with pytest.raises(DataError) as caught:
        convert(built("conv2d")[0], "int8", samples)
    one_line(caught)


def test_single_samples_of_different_shapes_are_refused_with_the_shapes(built, one_line):
    with pytest.raises(DataError, match=r"\(8, 8, 1\), \(9, 8, 1\)") as caught:
        convert(built("conv2d")[0], "int8", [np.zeros((8, 8, 1)), np.zeros((9, 8, 1))])
    one_line(caught)


def test_samples_without_an_input_are_refused_with_its_name(built, one_line):
    model, samples = built("dicts in and out")
    with pytest.raises(DataError, match=r"'b'.*only a") as caught:
        convert(model, "int8", {"a": samples["a"]})
    one_line(caught)


def test_samples_for_too_few_inputs_are_refused(built, one_line):
    model, samples = built("lists in and out")
    with pytest.raises(DataError, match=r"inputs b, a.*1") as caught:
        convert(model, "int8", samples["a"])
    one_line(caught)


def test_samples_of_two_lengths_are_refused_with_the_lengths(built, one_line):
    model, samples = built("dicts in and out")
    with pytest.raises(DataError, match="48, 5") as caught:
        convert(model, "int8", {"a": samples["a"], "b": samples["b"][:5]})
    one_line(caught)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [3, 30])
@pytest.mark.sample(3)
def test_samples_that_are_not_finite_are_refused_with_the_place(built, one_line, bad, place):
    """The 30th is beyond those that files are compared on."""
    model, samples = built("conv2d")
    samples = samples.copy()
    samples[place, 2, 2, 0] = bad
    with pytest.raises(DataError, match=f"sample {place}") as caught:
        convert(model, "int8", samples)
    one_line(caught)


@pytest.mark.parametrize("mode", ["float32", "dynamic", "int8"])
def test_a_subclassed_model_without_a_sample_of_its_shape_is_refused_with_the_way_out(built, one_line, mode):
    model, samples = built("subclassed")
    with pytest.raises(InputError, match="samples") as caught:
        convert(model, mode)
    one_line(caught)
    with pytest.raises(InputError, match="dict") as caught:
        convert(model, mode, list(samples))
    one_line(caught)


def test_an_activation_that_overflows_on_a_late_sample_is_refused_with_its_name(one_line):
    stack = [
        layers.Dense(3, kernel_initializer="ones"),
        layers.Activation("exponential", name="grows"),
        layers.Dense(2),
    ]
    model, x = zoo.chain((4,), *stack, layers.Activation("sigmoid"))
    x[40] = 1e3
    with pytest.raises(ConversionError, match="grows") as caught:
        convert(model, "int8", x)
    one_line(caught)


def test_invented_inputs_are_words_that_the_embedding_knows(built):
    model, _ = built("embedding")
    [words] = random_samples(model, 40).values()
    size = next(layer.input_dim for layer in model.layers if hasattr(layer, "input_dim"))
    assert words.dtype.kind == "i"
    assert words.max() < size
    assert len(np.unique(words)) > 1


def test_invented_images_of_any_size_have_a_size(built):
    model, _ = built("image of any size")
    [images] = random_samples(model, 3).values()
    assert images.shape == (3, OPEN, OPEN, model.inputs[0].shape[-1])


def test_a_model_that_does_not_know_its_inputs_has_no_invented_ones(built):
    assert random_samples(built("subclassed")[0]) is None


@pytest.mark.parametrize(("cropped", "steps"), [(1, OPEN), (100, 224), (400, 1024)])
def test_invented_inputs_are_as_long_as_the_model_needs(cropped, steps):
    inputs = layers.Input((None, 2))
    model = keras.Model(inputs, layers.Dense(2)(layers.Cropping1D(cropped)(inputs)))
    [samples] = random_samples(model, 3).values()
    assert samples.shape == (3, steps, 2)
    assert convert(model, "float32")


def test_a_model_that_does_not_run_on_the_samples_is_refused_in_one_line(one_line):
    inputs = layers.Input((None, 2))
    model = keras.Model(inputs, layers.Dense(2)(layers.Cropping1D(100)(inputs)))
    with pytest.raises(ConversionError) as caught:
        convert(model, "float32", np.ones((4, 60, 2), np.float32))
    assert one_line(caught)

"""Models in which some numbers say which and not how much: their files give what Keras gives.

The bounds are some decibels below what was measured, in the order of the modes; of masks and ids the bound is that of
the same model without them.
"""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tests.quantization.selecting_zoo import ZOO, embedding, ids, over_time
from tfopt.metrics import compare_outputs
from tfopt.models import signature
from tfopt.quantization import convert_with_notes
from tfopt.recipe.export import Export
from tfopt.tflite.interpreter import Runner

# Least signal-to-noise ratio against Keras in decibels, of the mode and of members that have less.
LEAST = {"int8": 27, "int4": 16, "dynamic": 33, "int16x8": 34}
LESS = {("convolution over words", "int4"): 11}


def snr(model, x, mode="int8", **settings):
    """The ratio of a file's outputs against Keras's, in decibels; of several outputs the worst."""
    runner = Runner(tfopt.convert(model, mode, calibration=x, **settings))
    feeds = x if isinstance(x, dict) else {next(iter(runner.inputs)): x}
    got = runner(feeds)
    wanted = {name: np.asarray(value) for name, value in signature.call(model, feeds).items()}
    return min(compare_outputs({name: value}, got)["snr_db"] for name, value in wanted.items())


@pytest.mark.parametrize("mode", LEAST)
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.sample(16)
def test_the_file_gives_what_keras_gives(name, mode):
    model, x = ZOO[name]()
    assert snr(model, x, mode) > LESS.get((name, mode), LEAST[mode])


@pytest.mark.parametrize("settings", [{"io": "float32"}, {"batch": 4}, {"batch": "any"}], ids=str)
@pytest.mark.parametrize(
    "name", ["ids without a dtype", "table of many categories", "features and the same reversed", "causal attention"]
)
@pytest.mark.sample(4)
def test_it_does_with_other_settings(name, settings):
    model, x = ZOO[name]()
    assert snr(model, x, **settings) > LEAST["int8"]


@pytest.mark.parametrize("vocabulary", [100, 1000])
def test_ids_in_floats_are_as_good_as_in_integers(vocabulary):
    def build(dtype):
        keras.utils.set_random_seed(1)
        stack = [embedding(vocabulary), layers.GlobalAveragePooling1D(), layers.Dense(4)]
        return keras.Sequential([keras.Input((12,), dtype=dtype), *stack])

    x = ids(vocabulary, 12)
    assert snr(build(None), x) > snr(build("int32"), x.astype("int32")) - 1


@pytest.mark.parametrize("mode", ["int8", "int16x8"])
def test_attention_with_a_mask_is_as_good_as_without(mode):
    def build(causal):
        keras.utils.set_random_seed(1)
        return over_time(lambda x: layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=causal))

    assert snr(*build(True), mode) > snr(*build(False), mode) - 3


def test_a_mask_that_the_calibration_samples_do_not_use_still_masks():
    model, x = ZOO["attention by hand"]()
    free = {**x, "mask": np.ones_like(x["mask"])}
    runner = Runner(tfopt.convert(model, "int8", calibration=free))
    wanted = {name: np.asarray(value) for name, value in signature.call(model, x).items()}
    assert compare_outputs(wanted, runner(x))["snr_db"] > LEAST["int8"]


def test_a_row_that_is_masked_whole_is_as_in_keras():
    model, x = ZOO["attention with a given mask"]()
    x = {**x, "mask": x["mask"].copy()}
    x["mask"][::2, 2] = False
    assert snr(model, x) > LEAST["int8"]


@pytest.mark.parametrize("name", ["two inputs of numbers and ids", "heads of every kind", "causal dot attention"])
@pytest.mark.sample(1)
def test_a_file_of_quantization_aware_training_does_too(name):
    model, x = ZOO[name]()
    feeds = x if isinstance(x, dict) else {model.inputs[0].name: x}
    y = [np.asarray(value) for value in signature.call(model, feeds).values()]
    model.compile("sgd", ["mse"] * len(y))
    aware = tfopt.callbacks.QuantizationAware(calibration=x)
    model.fit(x, y if len(y) > 1 else y[0], epochs=1, verbose=0, callbacks=[aware])
    content = aware.convert().content
    assert aware.aware.likeness(content).steps <= 8
    wanted = {name: np.asarray(value) for name, value in signature.call(model, feeds).items()}
    got = Runner(content)(feeds)
    assert min(compare_outputs({name: value}, got)["snr_db"] for name, value in wanted.items()) > LEAST["int8"]


def test_the_notes_say_what_was_done():
    model, x = ZOO["two inputs of numbers and ids"]()
    notes = convert_with_notes(model, Export(mode="int8"), x).notes
    assert "input 'who' holds ids or the like: it is an integer, and not quantized" in notes
    model, x = ZOO["table of numbers and categories"]()
    notes = convert_with_notes(model, Export(mode="int8"), x).notes
    assert any("that of missing values: it stays in float32" in note for note in notes)
    model, x = ZOO["causal attention"]()
    notes = convert_with_notes(model, Export(mode="int8"), x).notes
    assert any(note.startswith("values that a mask puts out of play are at -") for note in notes)

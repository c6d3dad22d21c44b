"""LSTMs with masks of every kind as one op: the outputs of Keras, with padding before and after, and with holes."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization.recurrent.recurrent_nets import LSTM, READS, built, chain, snr_db, to_float_once
from tfopt.errors import ConversionError
from tfopt.quantization import unrolling
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.preparation import prepare
from tfopt.recipe.export import Export
from tfopt.tflite.interpreter import Runner

STEPS, WORDS = 7, 9
NETS = {
    "last step": lambda: [layers.LSTM(4), layers.Dense(2)],
    "every step": lambda: [layers.LSTM(4, return_sequences=True), layers.Dense(2)],
    "stacked, backwards": lambda: [layers.LSTM(4, return_sequences=True), layers.LSTM(3, go_backwards=True)],
    "both ways": lambda: [layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.LSTM(3)],
    "both ways, last": lambda: [layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)],
}


@functools.cache
def text(name):
    """A model of words, of which 0 is padding; and samples padded before, after and within, and empty."""
    stack = [layers.Input((STEPS,), dtype="int32", name="words"), layers.Embedding(WORDS, 3, mask_zero=True)]
    model, _ = built(keras.Sequential([*stack, *NETS[name]()]))
    generator = np.random.default_rng(0)
    words = generator.integers(1, WORDS, (32, STEPS)).astype(np.int32)
    for row, first in zip(words, generator.integers(0, STEPS, 32), strict=True):
        row[: first // 2] = 0
        row[STEPS - first // 3 :] = 0
    words[::4, 2:4] = 0
    words[5] = 0
    READS.admit(model)
    return model, {"words": words}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.sample(3)
def test_whatever_the_mask_leaves_out_the_outputs_are_those_of_keras(name):
    model, samples = text(name)
    prepared = prepare(model, Export(mode="float32", recurrent="fused"), samples, convert=to_float_once)
    kinds = [op.name for op in prepared.source.ops]
    assert (LSTM in kinds, "WHILE" in kinds) == (True, False)
    [found] = Runner(prepared.source.content)(samples).values()
    assert np.abs(found - model.predict(samples["words"], verbose=0)).max() < 1e-5


@pytest.mark.parametrize("name", ["last step", "both ways"])
@pytest.mark.sample(1)
def test_in_integers_it_is_near_keras(name):
    model, samples = text(name)
    prepared = prepare(model, Export(recurrent="fused"), samples, convert=to_float_once)
    expected = model.predict(samples["words"], verbose=0)
    [found] = Runner(prepared.file)(samples).values()
    assert snr_db(expected, found) > 25


def test_steps_that_are_marked_in_the_data_are_left_out():
    model, samples = built(chain(layers.Masking(), layers.LSTM(4)))
    [x] = samples.values()
    x[::2, 3:] = 0
    x[1::2, :2] = 0
    prepared = prepare(model, Export(mode="float32", recurrent="fused"), samples)
    assert LSTM in [op.name for op in prepared.source.ops]
    [found] = Runner(prepared.source.content)(samples).values()
    assert np.abs(found - model.predict(x, verbose=0)).max() < 1e-5


# Forms that are made of samples without padding, and have to be right where there is some

UNROLLED = {
    "LSTM both ways": lambda: [layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.LSTM(3)],
    "GRU both ways": lambda: [layers.Bidirectional(layers.GRU(4, return_sequences=True)), layers.GRU(3)],
}


def without_padding(stack):
    """A model of words, samples without padding, and words with some before, after and within."""
    inputs = [layers.Input((STEPS,), dtype="int32", name="words"), layers.Embedding(WORDS, 3, mask_zero=True)]
    model, _ = built(keras.Sequential([*inputs, *stack]))
    words = np.random.default_rng(0).integers(1, WORDS, (32, STEPS)).astype(np.int32)
    padded = words.copy()
    padded[::3, 3:] = padded[1::3, :4] = padded[2::3, 1:5:2] = 0
    return model, {"words": words}, {"words": padded}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", UNROLLED)
def test_unrolled_layers_leave_out_the_steps_that_their_loops_do(name):
    """Keras's own unrolling puts zeros at other steps."""
    model, samples, padded = without_padding(UNROLLED[name]())
    flat, done = unrolling.unrolled(prepare(model, Export(recurrent="unrolled"), samples))
    assert done
    assert not {"WHILE", LSTM} & {op.name for op in flat.source.ops}
    [found] = Runner(flat.unmasked or flat.source.content)(padded).values()
    expected = model.predict(padded["words"], verbose=0)
    assert np.abs(found - expected).max() < 1e-5
    [found] = Runner(flat.file)(padded).values()
    assert snr_db(expected, found) > 20


def test_a_note_tells_of_samples_without_padding():
    model, samples, padded = without_padding([layers.LSTM(3), layers.Dense(2)])
    for given, told in ((samples, True), (padded, False)):
        notes = convert_with_notes(model, Export(recurrent="fused"), given, "metric").notes
        assert any("no calibration sample has padding" in note for note in notes) is told


def test_a_form_that_is_wrong_with_padding_alone_does_not_count(monkeypatch):
    monkeypatch.setattr("tfopt.models.clone.mend", lambda layer: None)  # Keras's own unrolling
    model, samples, padded = without_padding(UNROLLED["LSTM both ways"]())
    with pytest.raises(ConversionError, match="where a mask leaves steps out, the float file gives something else"):
        prepare(unrolling.clone.unrolled(model), Export(), samples, model, recurrent="unrolled")
    kept = unrolling.unroll_if_better(prepare(model, Export(), samples))
    assert any("where a mask leaves steps out" in note for note in kept.notes)
    assert LSTM in [op.name for op in kept.source.ops]  # right, and in integers
    [found] = Runner(kept.file)(padded).values()
    assert snr_db(model.predict(padded["words"], verbose=0), found) > 20


def test_a_model_that_is_built_unrolled_is_as_keras_computes_it():
    stack = [layers.Bidirectional(layers.LSTM(4, return_sequences=True, unroll=True)), layers.Dense(2)]
    model, samples, padded = without_padding(stack)
    for form in ("fused", "unrolled"):
        ready = prepare(model, Export(mode="float32", recurrent=form), samples)
        [found] = Runner(ready.source.content)(padded).values()
        assert np.abs(found - model.predict(padded["words"], verbose=0)).max() < 1e-5

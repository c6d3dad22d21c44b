"""LSTMs with masks of every kind as one op: the outputs of Keras, with padding before and after, and with holes."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization.recurrent.recurrent_nets import LSTM, READS, built, chain, snr_db, to_float_once
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

"""Loops or unrolled layers on a target with an arena: the smaller one is taken, and both figures are said."""

import re

import numpy as np
import pytest
from keras import layers

from tests.quantization.recurrent.recurrent_nets import STEPS, built, chain, needs_tflm
from tfopt.quantization import convert_with_notes
from tfopt.recipe.export import Export
from tfopt.targets import microcontrollers
from tfopt.tflite.file import read

LAYERS = {"gru": lambda: layers.GRU(4), "simple_rnn": lambda: layers.SimpleRNN(4)}


def converted(layer, **settings):
    model, samples = built(chain(layer, layers.Dense(2)))
    return convert_with_notes(model, Export(mode="int8", **settings), next(iter(samples.values())))


def loops(conversion):
    return "WHILE" in [op.name for op in read(conversion.content).ops]


@needs_tflm
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.sample(1)
def test_tflm_takes_the_form_of_the_smaller_arena(name):
    forms = {word: converted(LAYERS[name](), target="tflm", recurrent=word) for word in ("loop", "unrolled")}
    x = np.zeros((1, STEPS, 3), np.float32)
    arenas = {word: microcontrollers.run(form.content, x).arena_bytes for word, form in forms.items()}
    chosen = converted(LAYERS[name](), target="tflm")
    least = min(arenas, key=arenas.get)
    assert loops(chosen) == (least == "loop")
    [note] = [note for note in chosen.notes if "arena" in note]
    told = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) B", note)]
    assert told[0] == pytest.approx(arenas["loop"], abs=64)  # names of tensors move it by a few bytes
    assert told[2] == pytest.approx(arenas["unrolled"], abs=64)


def test_on_litert_it_is_unrolled():
    assert not loops(converted(layers.GRU(4)))

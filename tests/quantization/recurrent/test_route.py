"""Which form recurrent layers take: as asked for, or what is best for the target; and what the notes say."""

import functools

import pytest
from keras import layers

from tests.quantization.recurrent.recurrent_nets import LSTM, STEPS, built, chain, needs_tflm
from tfopt.errors import RecipeError
from tfopt.quantization.conversion import convert_with_notes
from tfopt.quantization.preparation import prepare
from tfopt.quantization.unrolling import unroll_if_better
from tfopt.recipe.export import Export
from tfopt.recipe.modes import MODES
from tfopt.recipe.target import TARGETS
from tfopt.stages.quantize import Quantize

STACKS = {
    "lstm": lambda: chain(layers.LSTM(4), layers.Dense(2)),
    "lstm and gru": lambda: chain(layers.LSTM(4, return_sequences=True), layers.GRU(3), layers.Dense(2)),
    "long lstm": lambda: chain(layers.LSTM(2), layers.Dense(2), shape=(140, 3)),
}


@functools.cache
def model_of(name):
    return built(STACKS[name]())


@functools.cache
def route(name, target="litert", mode="int8", **settings):
    """The forms in a file, and the notes."""
    model, samples = model_of(name)
    conversion = convert_with_notes(model, Export(mode=mode, target=target, slim=False, **settings), samples, "metric")
    kinds = [op.name for op in conversion.made.ops]
    forms = {"fused": LSTM in kinds, "loop": "WHILE" in kinds, "steps": kinds.count("FULLY_CONNECTED") > STEPS}
    return {form for form, there in forms.items() if there}, conversion.notes


@pytest.mark.parametrize(
    ("settings", "forms"),
    [
        (("lstm", "litert", "float32"), {"fused"}),
        (("lstm", "litert", "dynamic"), {"fused"}),
        (("lstm", "litert", "int8"), {"steps"}),
        (("lstm", "litert", "int16x8"), {"steps"}),
        (("lstm", "int_only", "int8"), {"fused"}),
        (("long lstm", "litert", "int8"), {"fused"}),
        (("lstm and gru", "litert", "int8"), {"steps"}),
        (("lstm and gru", "litert", "float32"), {"fused", "loop"}),
    ],
)
def test_without_being_asked_the_form_is_the_best_for_the_target(settings, forms):
    assert route(*settings)[0] == forms


@needs_tflm
def test_for_microcontrollers_an_lstm_is_one_op():
    assert route("lstm", "tflm")[0] == {"fused"}


@pytest.mark.parametrize(
    ("recurrent", "mode", "forms"),
    [
        ("fused", "int8", {"fused"}),
        ("unrolled", "int8", {"steps"}),
        ("loop", "int8", {"loop"}),
        ("fused", "float32", {"fused"}),
        ("unrolled", "float32", {"steps"}),
        ("loop", "float32", {"loop"}),
    ],
)
def test_a_form_that_is_asked_for_is_taken(recurrent, mode, forms):
    assert route("lstm", mode=mode, recurrent=recurrent)[0] == forms


def test_beside_an_lstm_as_one_op_another_layer_is_unrolled_and_a_note_says_why_it_is_not_one():
    forms, notes = route("lstm and gru", recurrent="fused")
    assert forms == {"fused", "steps"}
    assert any("gru" in note and "no op of a whole GRU" in note for note in notes)


def test_the_note_on_an_unrolled_file_tells_of_the_smaller_one():
    assert any("recurrent: fused" in note and "far smaller" in note for note in route("lstm")[1])


def test_the_older_word_still_says_it():
    assert Export(unroll=True).recurrence == "unrolled"
    assert Export(unroll=False).recurrence == "loop"
    assert Export(mode="float32", unroll=False).recurrence == "auto"  # it was about integers
    assert route("lstm", unroll=False)[0] == {"loop"}
    with pytest.raises(RecipeError, match="older word"):
        Export(unroll=True, recurrent="fused")


def test_the_smallest_file_has_an_lstm_as_one_op():
    model, samples = model_of("lstm")
    stage = Quantize(goal="smallest", max_drop=0.1)
    assert unroll_if_better(prepare(model, stage, samples)).fused
    assert not unroll_if_better(prepare(model, Quantize(max_drop=0.1), samples)).fused


def test_modes_and_targets_say_what_the_choice_is_made_by():
    assert [name for name, mode in MODES.items() if not mode.fuses] == ["int16x8"]
    assert [name for name, target in TARGETS.items() if target.unrolls] == ["litert"]

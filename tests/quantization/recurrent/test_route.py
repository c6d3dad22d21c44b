"""Which form recurrent layers take: as asked for, or what is best for the target; and what the notes say."""

import functools

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tests.quantization.recurrent.recurrent_nets import LSTM, READS, STEPS, built, chain, needs_tflm, to_float_once
from tfopt.errors import ConversionError, ModelError, RecipeError
from tfopt.quantization.conversion import KEEPS_STATE, convert_with_notes
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
FLOATS = [name for name, mode in MODES.items() if not mode.static]


@functools.cache
def model_of(name):
    model, samples = built(STACKS[name]())
    READS.admit(model)
    return model, samples


@functools.cache
def converted(name, target="litert", mode="int8", **settings):
    model, samples = model_of(name)
    export = Export(mode=mode, target=target, slim=False, **settings)
    return convert_with_notes(model, export, samples, "metric", to_float_once)


def route(name, target="litert", mode="int8", **settings):
    """The forms in a file, and the notes."""
    conversion = converted(name, target, mode, **settings)
    kinds = [op.name for op in conversion.made.ops]
    forms = {"fused": LSTM in kinds, "loop": "WHILE" in kinds, "steps": kinds.count("FULLY_CONNECTED") > STEPS}
    return {form for form, there in forms.items() if there}, conversion.notes


@pytest.mark.parametrize(
    ("settings", "forms"),
    [
        *((("lstm", "litert", mode), {"loop"}) for mode in FLOATS),
        (("lstm", "litert", "int8"), {"steps"}),
        (("lstm", "litert", "int16x8"), {"steps"}),
        (("lstm", "int_only", "int8"), {"fused"}),
        (("long lstm", "litert", "int8"), {"fused"}),
    ],
)
def test_without_being_asked_the_form_is_the_best_for_the_target(settings, forms):
    assert route(*settings)[0] == forms


@pytest.mark.parametrize("mode", ["int8", "float32"])
def test_for_microcontrollers_an_lstm_is_one_op(mode):
    model, samples = model_of("lstm")
    prepared = unroll_if_better(prepare(model, Export(mode=mode, target="tflm"), samples, convert=to_float_once))
    assert (len(prepared.fused), prepared.loops) == (1, ())


def called_twice(content, x):
    """The output of two calls in a row of a plain interpreter, which knows nothing of states."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [taken], [given] = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for _ in range(2):
        interpreter.set_tensor(taken["index"], x.astype(taken["dtype"]))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given["index"]))
    return outputs


@pytest.mark.parametrize("mode", MODES)
def test_a_default_file_gives_the_same_at_every_call(mode):
    conversion = converted("lstm", "litert", mode)
    first, second = called_twice(conversion.content, 50 * np.ones((1, STEPS, 3)))
    assert np.array_equal(first, second)
    assert KEEPS_STATE not in conversion.warnings


def test_a_file_that_does_not_says_so_in_a_warning():
    conversion = converted("lstm", "litert", "float32", recurrent="fused")
    first, second = called_twice(conversion.content, np.ones((1, STEPS, 3)))
    assert not np.array_equal(first, second)
    assert KEEPS_STATE in conversion.warnings
    assert KEEPS_STATE in converted("long lstm", "litert", "int8").warnings  # by default


@pytest.mark.parametrize(
    ("recurrent", "mode", "forms"),
    [
        ("fused", "int8", {"fused"}),
        ("loop", "int8", {"loop"}),
        ("fused", "float32", {"fused"}),
        ("unrolled", "float32", {"steps"}),
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
    for mode in MODES:
        for target in (target for target in ("litert", "tflm") if TARGETS[target].runs(MODES[mode])):
            assert Export(mode=mode, unroll=False, target=target).recurrence == "loop"
    assert Export(mode="float32", unroll=True).recurrence == Export(mode="float32").recurrence  # it was about integers
    assert route("lstm", unroll=False)[0] == {"loop"}
    with pytest.raises(RecipeError, match="older word"):
        Export(unroll=True, recurrent="fused")


def test_the_smallest_file_has_an_lstm_as_one_op():
    model, samples = model_of("lstm")
    stage = Quantize(goal="smallest", max_drop=0.1)
    assert unroll_if_better(prepare(model, stage, samples, convert=to_float_once)).fused
    assert not unroll_if_better(prepare(model, Quantize(max_drop=0.1), samples, convert=to_float_once)).fused


def test_modes_and_targets_say_what_the_choice_is_made_by():
    assert [name for name, mode in MODES.items() if not mode.fuses] == ["int16x8"]
    assert [name for name, target in TARGETS.items() if target.unrolls] == ["litert"]


def test_a_form_that_was_asked_for_and_is_not_taken_is_a_warning():
    assert any(
        "gru" in told and "recurrent: fused" in told for told in converted("lstm and gru", recurrent="fused").warnings
    )
    loops = converted("long lstm", recurrent="unrolled").warnings
    assert any("recurrent: unrolled" in told for told in loops)
    assert not any("recurrent:" in told for told in converted("lstm", recurrent="fused").warnings)


def test_a_rule_of_16_bits_for_an_lstm_that_is_one_op_is_refused():
    model, samples = model_of("lstm")
    rules = [{"layers": model.layers[0].name, "to": "int16"}]
    with pytest.raises(ModelError, match=f"would change nothing: the quantizer has no int16 form of {LSTM}"):
        convert_with_notes(model, Export(recurrent="fused", rules=rules), samples, "metric")


def test_a_batch_of_any_size_is_for_models_without_recurrent_layers():
    model, samples = model_of("lstm")
    with pytest.raises(ModelError, match="takes no batch of any size"):
        convert_with_notes(model, Export(mode="float32", batch="any"), samples)


@needs_tflm
def test_kernels_of_an_lstm_as_one_op_are_not_decoded_and_a_note_says_so():
    notes = converted("lstm", "tflm", decode=True).on_target.cost.notes
    assert any("LSTM as one op stay as they are" in note for note in notes)


def masked():
    """A model with a mask and samples without padding."""
    model, samples = built(chain(layers.Masking(), layers.LSTM(4), layers.Dense(2)))
    return model, samples


def test_with_a_mask_the_smallest_file_has_an_lstm_as_one_op_too():
    model, samples = masked()
    small = unroll_if_better(prepare(model, Quantize(goal="smallest", max_drop=0.1), samples))
    assert small.fused
    assert not small.loops
    assert not unroll_if_better(prepare(model, Quantize(max_drop=0.1), samples)).fused


@needs_tflm
def test_a_mask_that_tflm_cannot_run_is_said_with_the_way_out():
    model, samples = masked()
    with pytest.raises(ConversionError, match=r"no op REDUCE_ANY.*Masking layer makes it.*Leave the mask out"):
        convert_with_notes(model, Export(target="tflm"), samples, "metric")

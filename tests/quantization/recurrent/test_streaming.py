"""Files that take a sequence in pieces: the outputs of the whole, on LiteRT and TFLM, and what cannot be one."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization.recurrent.recurrent_nets import (
    READS,
    STEPS,
    built,
    chain,
    known,
    needs_tflm,
    on_tflm,
    snr_db,
    to_float_once,
)
from tfopt.deployment.file_usage import usage
from tfopt.deployment.snippet import snippet
from tfopt.errors import ModelError, RecipeError
from tfopt.inspection import inspect
from tfopt.quantization.conversion import convert_with_notes
from tfopt.recipe.export import Export
from tfopt.targets import microcontrollers
from tfopt.tflite.interpreter import Runner

NETS = {
    "every step": lambda steps: chain(
        layers.LSTM(4, return_sequences=True), layers.LSTM(3, return_sequences=True), layers.Dense(2), shape=(steps, 3)
    ),
    "last step": lambda steps: chain(layers.LSTM(4, return_sequences=True), layers.LSTM(3), shape=(steps, 3)),
}
PIECES = 4
FIXED = r"could not be run on a whole sequence.*LiteRT does not take a longer sequence: .*failed.*Leave stateful out"


@functools.cache
def remembering(name):
    """A model whose layers forget little, so that a state from before shows; and samples."""
    model, samples = built(NETS[name](STEPS))
    for layer in model.layers[:2]:
        bias = layer.cell.bias.numpy()
        bias[layer.units : 2 * layer.units] = 4
        layer.cell.bias.assign(bias)
    READS.admit(model)
    return model, samples


@functools.cache
def streamed(name, mode):
    """A model, its samples, the same model for sequences of several pieces, and the file."""
    model, samples = remembering(name)
    longer = NETS[name](PIECES * STEPS)
    longer.set_weights(model.get_weights())
    export = Export(mode=mode, stateful=True)
    return model, samples, longer, convert_with_notes(model, export, samples, "metric", to_float_once)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("every step", "float32"), ("every step", "int8"), ("last step", "int8"), ("last step", "float32")],
)
@pytest.mark.sample(2)
def test_pieces_give_what_keras_gives_for_the_whole_sequence(name, mode):
    _, samples, longer, conversion = streamed(name, mode)
    [pieces] = (values[:PIECES] for values in samples.values())
    expected = np.asarray(longer(np.concatenate(pieces)[None]))[0]
    [found] = Runner(conversion.content, keeps_state=True)(pieces).values()
    ends = np.concatenate(found) if name == "every step" else found[-1]
    assert snr_db(expected, ends) > (90 if mode == "float32" else 30)
    [reset] = Runner(conversion.content)(pieces).values()
    apart = np.concatenate(reset) if name == "every step" else reset[-1]
    assert snr_db(expected, apart) < 20  # so that the state is what makes it
    assert any(f"3 calls of {STEPS} steps give what one of {3 * STEPS} gives" in note for note in conversion.notes)


@needs_tflm
def test_tflm_keeps_the_state_too():
    model, samples = remembering("last step")
    conversion = convert_with_notes(model, Export(stateful=True, target="tflm"), samples, "metric", to_float_once)
    assert any(note.endswith("and the same on tflm") for note in conversion.notes)
    few = {name: values[:PIECES] for name, values in samples.items()}
    [kept] = microcontrollers.run(conversion.content, few, keeps_state=True).outputs.values()
    [expected] = Runner(conversion.content, keeps_state=True)(few).values()
    assert snr_db(expected, kept) > 30
    assert snr_db(kept[1:], on_tflm(conversion.content, few)[1:]) < 20


@pytest.mark.parametrize(
    ("stack", "reason"),
    [
        ([layers.GRU(4)], "no op of a whole GRU"),
        ([layers.Flatten(), layers.Dense(2)], "has none"),
        ([layers.Bidirectional(layers.LSTM(4))], "runs backwards"),
        ([layers.LSTM(4, activation="relu")], "relu"),
        ([layers.Masking(), layers.LSTM(4)], "gives a mask"),
    ],
)
def test_layers_that_cannot_go_on_are_one_line(stack, reason):
    model, samples = built(chain(*stack))
    with pytest.raises(ModelError, match=reason):
        convert_with_notes(model, Export(mode="float32", stateful=True), samples)


@pytest.mark.parametrize(
    ("stack", "reason"),
    [
        ([layers.Conv1D(3, 3, padding="same"), layers.LSTM(4, return_sequences=True)], r"Look at conv1d\S* \(Conv1D\)"),
        ([layers.LSTM(4, return_sequences=True), layers.GlobalAveragePooling1D()], "looks at more than one step"),
        ([layers.LSTM(4, return_sequences=True), layers.Flatten(), layers.Dense(2)], FIXED),
        (
            [layers.LSTM(4, return_sequences=True), layers.TimeDistributed(layers.Dense(2), name="head")],
            r"head \(TimeDistributed\).*take the Dense itself",
        ),
    ],
    ids=["convolution", "pooling", "flat", "by time"],
)
def test_layers_that_look_across_steps_are_one_line(stack, reason):
    model, samples = built(chain(*stack))
    with pytest.raises(ModelError, match=reason):
        convert_with_notes(model, Export(mode="float32", stateful=True), samples)


def test_a_layer_that_is_stateful_in_keras_is_told_of_the_setting():
    inputs = keras.Input(batch_shape=(1, STEPS, 3))
    model = keras.Model(inputs, layers.LSTM(4, stateful=True)(inputs))
    with pytest.raises(ModelError, match=r"stateful: true in the settings"):
        convert_with_notes(model, Export(mode="float32"), np.zeros((4, STEPS, 3), np.float32))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"recurrent": "loop"}, "one op"),
        ({"unroll": True}, "one op"),
        ({"batch": 4}, "one sequence"),
        ({"mode": "int16x8"}, "16 bits"),
    ],
)
def test_settings_that_keep_no_state_are_refused(settings, reason):
    with pytest.raises(RecipeError, match=reason):
        Export(stateful=True, **settings)


@functools.cache
def whole():
    """The file of a model that takes a whole sequence to a run."""
    model, samples = known("last step")
    return convert_with_notes(model, Export(recurrent="fused"), samples, "metric", to_float_once).content


def test_a_whole_sequence_to_a_run_is_told_to_be_reset():
    found = usage(whole())
    assert (found.stateful, found.streams, found.resets) == (True, False, True)
    assert any("before each sequence" in remark for remark in inspect(whole()).remarks)


def code_of(content, folder, monkeypatch):
    """The Python code around a file, run but for its example."""
    (folder / "model.tflite").write_bytes(content)
    monkeypatch.chdir(folder)
    space = {"__name__": "snippet"}
    exec(compile(snippet(usage(content)), "predict.py", "exec"), space)
    return space


def test_the_python_code_around_a_file_with_state_resets_it(tmp_path, monkeypatch):
    model, samples = built("last step")
    content = convert_with_notes(model, Export(recurrent="fused"), samples, "metric").content
    predict = code_of(content, tmp_path, monkeypatch)["predict"]
    [x] = (values[:3] for values in samples.values())
    [found] = Runner(content)(x).values()
    for place in (0, 2, 1):
        [output] = predict(x[place : place + 1]).values()
        assert np.array_equal(output, found[place : place + 1])


@pytest.mark.parametrize("name", NETS)
def test_the_python_code_around_a_stream_goes_on_until_it_is_told_to_begin_anew(name, tmp_path, monkeypatch, capsys):
    """From the bytes of a file alone."""
    _, samples, _, conversion = streamed(name, "int8")
    content = conversion.content
    assert any("where a new one begins" in remark for remark in inspect(content).remarks)
    space = code_of(content, tmp_path, monkeypatch)
    [pieces] = (values[:PIECES] for values in samples.values())
    [expected] = Runner(content, keeps_state=True)(pieces).values()
    for _ in range(2):
        space["reset"]()
        for place in range(PIECES):
            [output] = space["predict"](pieces[place : place + 1]).values()
            assert np.array_equal(output, expected[place : place + 1])
    exec(compile(snippet(usage(content)), "predict.py", "exec"), {"__name__": "__main__"})
    assert len(capsys.readouterr().out.splitlines()) >= 3


@pytest.mark.parametrize(
    ("language", "reset"),
    [
        ("python", "reset_all_variables"),
        ("c++", "TfLiteInterpreterResetVariableTensors"),
        ("kotlin", "resetVariableTensors"),
        ("tflm", "Reset()"),
    ],
)
def test_the_code_around_a_stream_resets_where_a_sequence_begins_and_any_other_before_each_run(language, reset):
    found = usage(whole())
    told = [line for line in snippet(found, language).splitlines() if reset in line]
    assert told
    code = snippet(streamed("last step", "int8")[3].content, language)
    assert "where a new one begins, and not before" in code
    assert "where a new one begins" not in snippet(found, language)
    predict = code[code.index(" predict(") :]
    assert reset not in predict.split("main")[0]
    assert reset in code

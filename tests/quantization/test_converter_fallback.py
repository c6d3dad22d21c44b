"""TFLiteConverter in a process of its own: what it makes, what it refuses, and what kills it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantization import zoo
from tfopt import subprocesses
from tfopt.errors import ConversionError
from tfopt.metrics import compare_outputs
from tfopt.output_capture import captured
from tfopt.quantization import conversion, converter_fallback, unrolling
from tfopt.quantization.conversion import finish
from tfopt.quantization.converter_fallback import post_training
from tfopt.quantization.float_conversion import trace
from tfopt.quantization.preparation import prepare
from tfopt.quantization.unrolling import unroll_if_better
from tfopt.recipe.export import Export
from tfopt.tflite.file import read
from tfopt.tflite.interpreter import Runner


def by_converter(model, samples, io="int8"):
    feed = zoo.by_name(model, samples)
    return post_training(trace(model, feed, 1), feed, io)


@pytest.fixture
def in_this_process(monkeypatch):
    """What the child does is done here: another Python with TensorFlow costs many times the conversion."""

    def run(module, arguments):
        assert module == converter_fallback.__name__
        folder, io = arguments
        with captured():
            converter_fallback.main(Path(folder), io)
        return subprocess.CompletedProcess(arguments, 0, "", "")

    monkeypatch.setattr(subprocesses, "run", run)


@pytest.mark.usefixtures("in_this_process")
def test_an_unrolled_layer_all_in_integers_agrees_with_keras_and_with_the_quantizer(built, converted):
    model, samples = built("lstm unrolled")
    theirs, mine = by_converter(model, samples), converted("lstm unrolled").content
    assert {op.name for op in read(theirs).ops if op.floating} <= {"SPLIT"}  # with a piece that nothing reads
    assert {op.kernels[0].dtype for op in read(theirs).ops if op.kernels} == {"INT8"}
    assert zoo.error(theirs, model, samples) < 0.035
    assert compare_outputs(Runner(mine)(samples), Runner(theirs)(samples))["snr_db"] > 20


def test_a_loop_all_in_integers_is_one_line_and_this_process_goes_on(built, converted, one_line):
    """The converter ends its process on it."""
    model, samples = built("lstm")
    with pytest.raises(ConversionError, match="SIGSEGV") as caught:
        by_converter(model, samples)
    assert "mode dynamic" in one_line(caught)
    assert zoo.error(converted("lstm", "dynamic").content, model, samples) < 0.015


@pytest.mark.slow
def test_names_and_order_of_inputs_and_outputs_are_the_models_own(built):
    model, samples = built("lists in and out")
    content = by_converter(model, samples, "float32")
    summary = read(content)
    assert list(summary.inputs.items()) == [("b", ("FLOAT32", (1, 4))), ("a", ("FLOAT32", (1, 6)))]
    assert list(summary.outputs.items()) == [("z", ("FLOAT32", (1, 3))), ("y", ("FLOAT32", (1, 2)))]
    assert zoo.error(content, model, samples) < 0.035


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import os; os.abort()", "SIGABRT"),
        ("raise ValueError('first line\\nsecond line')", "line"),
        ("import sys; sys.stderr.write('x.py:1:1: error: no such op\\n'); sys.exit(1)", "no such op"),
    ],
)
def test_a_child_that_ends_in_whatever_way_is_one_line(built, one_line, monkeypatch, code, told):
    model, samples = built("dense")
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: run([sys.executable, "-c", code], **rest))
    with pytest.raises(ConversionError, match=told) as caught:
        by_converter(model, samples)
    one_line(caught)


# What is tried in which order


@pytest.mark.slow
def test_loops_that_the_quantizer_makes_badly_go_to_the_converter(built, monkeypatch):
    model, samples = built("lstm")
    own = conversion.PreparedModel.snr
    monkeypatch.setattr(
        conversion.PreparedModel, "snr", lambda flat, content: own(flat, content) if flat.converted else 3.0
    )
    made = prepare(model, Export(), samples)
    result = unroll_if_better(made)
    assert result.converted is not None
    assert result.notes[0] == "unrolled, the SNR is 3.0 dB"
    assert "by TFLiteConverter" in result.notes[1]
    content = finish(result, result.quantized()).content
    assert zoo.error(content, model, samples) < 0.035


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kept", "loops"), [("gru", "loops stay in float", 1), ("lstm", "each LSTM is one op", 0)]
)
def test_layers_that_no_route_unrolls_well_stay_as_they_are(built, monkeypatch, name, kept, loops):
    model, samples = built(name)

    def killed(*_):
        raise ConversionError("the converter crashed")

    own = conversion.PreparedModel.snr
    monkeypatch.setattr(unrolling, "post_training", killed)
    monkeypatch.setattr(conversion.PreparedModel, "snr", lambda flat, content: min(own(flat, content), 3.0))
    result = unroll_if_better(prepare(model, Export(), samples))
    tried = ("unrolled, the SNR is 3.0 dB", "unrolled, the converter crashed", kept)
    assert tuple(note for note in result.notes if "not one op" not in note)[:3] == tried
    monkeypatch.undo()
    made = finish(result, result.quantized())
    assert len(made.audit.loops) == loops
    assert zoo.error(made.content, model, samples) < 0.035


def test_loops_stay_in_float_where_that_is_asked_for(built, converted):
    made = converted("lstm", unroll=False)
    assert len(made.audit.loops) == 1
    assert "as asked" in made.notes[0]
    assert zoo.error(made.content, *built("lstm")) < 0.035


def test_a_loop_of_unknown_length_stays_in_float_and_the_notes_say_why(converted):
    note, _ = converted("lstm of unknown length").notes
    assert "has no fixed length" in note


@pytest.mark.slow
def test_the_converters_file_takes_no_precisions_of_single_layers(built, one_line):
    model, samples = built("dense")
    made = replace(prepare(model, Export(), samples), converted=b"")
    with pytest.raises(ConversionError, match="precision") as caught:
        made.quantized({0: "int4"})
    one_line(caught)


def test_a_long_recurrent_model_in_integers_keeps_its_loop():
    model = keras.Sequential([layers.Input((129, 2)), layers.SimpleRNN(4), layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(8, 129, 2)).astype(np.float32)
    made = conversion.convert_with_notes(model, Export(), x)
    assert "more than 128" in made.notes[0]
    assert len(made.audit.loops) == 1

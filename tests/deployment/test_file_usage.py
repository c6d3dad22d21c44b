"""What is read of a file: names, grids, what decides, and what keeps TFLM from running it; and the words for it."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from tfopt.deployment import usage
from tfopt.deployment.file_usage import recorded_usage
from tfopt.deployment.identifiers import identifiers
from tfopt.deployment.words import decision, described, input_meaning, output_meaning
from tfopt.errors import ModelError
from tfopt.metrics import find
from tfopt.metrics.decision import Decision
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.usage import ClassRule, TensorUsage
from tfopt.tflite.interpreter import Runner

INT8 = TensorUsage("image", 0, "int8", (1, 28, 28, 1), 1 / 256, -128)


def test_names_types_shapes_and_grids_are_those_of_the_runtime(made):
    content, found, _ = made("senses", "int8")
    runner = Runner(content)
    for ends, details in ((found.inputs, runner.inputs), (found.outputs, runner.outputs)):
        assert [end.name for end in ends] == list(details)
        for end in ends:
            detail = details[end.name]
            assert (end.dtype, end.shape) == (np.dtype(detail["dtype"]).name, tuple(detail["shape"]))
            assert (end.scale, end.zero_point) == pytest.approx(detail["quantization"])
            assert end.quantized == (detail["dtype"] is np.int8)
    assert found.signature == "serving_default"
    assert not found.stateful


def test_a_dimension_of_any_size_is_minus_one(made):
    _, found, _ = made("digits", "any-batch")
    assert found.inputs[0].shape == (-1, 8, 8, 1)
    assert found.inputs[0].fixed_shape == (1, 8, 8, 1)
    assert "any8x8x1" not in next(described(found))[1]
    assert "anyx8x8x1" in next(described(found))[1]


def test_what_the_model_does_to_its_inputs_is_told(made):
    _, found, _ = made("senses", "int8")
    told = {end.name: end.preparation for end in found.inputs}
    assert told == {
        "class": ("looks up ids from 0 to 6 (Embedding)",),
        "image": ("divides by 255 (Rescaling)",),
        "sound-in": ("subtracts the mean 2 and divides by the standard deviation 2 (Normalization)",),
    }


@pytest.mark.parametrize("mode", ["float32", "int8", "float-io"])
def test_the_ops_tell_how_outputs_decide(made, mode):
    _, found, _ = made("senses", mode)
    assert {end.name: end.decides for end in found.outputs} == {
        "digit": ClassRule("largest", 10),
        "image": ClassRule("each", 1),
        "level": None,
    }


def test_metrics_know_better_than_ops_how_outputs_decide(made):
    content, _, _ = made("senses", "int8")
    accuracy = find("accuracy")
    several = dataclasses.replace(accuracy.of("level"), decisions=(("level", Decision(logits=True, multilabel=True)),))
    found = usage(content, metrics=[several, find("mae").of("image"), accuracy.of("digit")])
    assert {end.name: end.decides for end in found.outputs} == {
        "digit": ClassRule("largest", 10),
        "image": None,
        "level": ClassRule("each", 2, 0.0),
    }


def test_a_file_in_a_run_is_told_as_it_was_recorded_until_it_is_changed(made, tmp_path):
    content, found, _ = made("digits", "int8")
    folder = tmp_path / "int8"
    folder.mkdir()
    file = folder / "model.tflite"
    file.write_bytes(content)
    artifact = Artifact("int8", "quantize", folder, "model.tflite", "tflite", "k", details=[found])
    artifact = dataclasses.replace(artifact, metrics={"arena_bytes": 4992.0})
    digest = hashlib.sha256(content).hexdigest()
    dataclasses.replace(artifact, digest=digest).write()
    assert recorded_usage(file) == dataclasses.replace(found, arena_bytes=4992)
    other, _, _ = made("digits", "float32")
    file.write_bytes(other)
    assert recorded_usage(file) == usage(other)


def test_a_record_goes_through_json(made):
    _, found, _ = made("senses", "int8")
    assert type(found).from_json(json.loads(json.dumps(found.to_json()))) == found


def test_what_is_no_tflite_file_is_refused():
    with pytest.raises(ModelError, match="TFL3"):
        usage(b"nothing of the kind")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (INT8, "round(x / 0.00390625) - 128, clipped to -128..127; x from 0 to 0.9961"),
        (dataclasses.replace(INT8, zero_point=3), "round(x / 0.00390625) + 3, clipped to -128..127; x from -0.5117"),
        (TensorUsage("x", 0, "int16", (1, 4), 2.0, 0), "round(x / 2.0), clipped to -32768..32767; x from -6.554e+04"),
        (TensorUsage("x", 0, "uint8", (1, 4), 1.0, 0), "round(x), clipped to 0..255; x from 0 to 255"),
        (TensorUsage("x", 0, "float32", (1, 4)), "x as the model takes it"),
        (TensorUsage("x", 0, "int32", (1, 4)), "ids or counts as the model takes them"),
    ],
    ids=["int8", "positive-zero-point", "int16", "uint8", "float32", "ids"],
)
def test_the_numbers_of_an_input_are_said_in_words(end, words):
    assert input_meaning(end).startswith(words)


def test_the_numbers_of_an_output_and_its_decision_are_said_in_words():
    end = dataclasses.replace(INT8, decides=ClassRule("largest", 10))
    assert output_meaning(end) == "x = 0.00390625 * (q + 128); x from 0 to 0.9961"
    assert decision(end).startswith("the class, 0 to 9, is the place of the largest number; integers are compared")
    assert decision(dataclasses.replace(INT8, decides=ClassRule("each", 1, 0.0))) == "above 0 is yes"
    assert decision(dataclasses.replace(INT8, decides=ClassRule("each", 3))) == "each of 3 classes above 0.5 is a yes"


def test_identifiers_are_valid_and_apart():
    names = ["image", "sound-in", "class", "1st", "a b", "a_b", "np", "run", "score_class", "größe", "_"]
    found = identifiers(names)
    assert len(set(found.values())) == len(names)
    assert all(name.isidentifier() and name.isascii() for name in found.values())
    assert found["image"] == "image"
    assert found["sound-in"] == "sound_in"
    assert found["class"] == "class_tensor"
    assert found["score_class"] == "score_class_tensor"
    assert identifiers(["sound-in"], camel=True) == {"sound-in": "soundIn"}
    assert identifiers(["digit"], avoid=["digit"]) == {"digit": "digit_2"}

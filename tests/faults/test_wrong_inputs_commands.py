"""The command on models, data, results and words that are wrong: the line of each and its exit code."""

import json
import sys
import time

import keras
import pytest
from keras import layers

from tests.faults.project import write_project
from tests.faults.spread import spread
from tests.faults.wrong_files import DATA, archive, saved, with_config
from tfopt.cli import main

SECONDS = 5.0
ALL = 1000


@pytest.fixture
def answer(monkeypatch, capfd, tmp_path, evidence):
    """Runs the command in a folder of its own; returns its exit code and its lines on the error stream."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tfopt", *map(str, words)])
        capfd.readouterr()
        start = time.monotonic()
        with pytest.raises(SystemExit) as caught:
            main()
        seconds, (out, err) = time.monotonic() - start, capfd.readouterr()
        assert "Traceback" not in out + err
        assert seconds < SECONDS
        return caught.value.code or 0, err.splitlines()

    return run


def refused(answer, evidence, kind, case, words, *command):
    """One line with some words in it, and exit code 2."""
    code, lines = answer(*command)
    assert (code, len(lines)) == (2, 1), lines
    assert words in lines[0]
    evidence.add(f"wrong {kind}", case, [], code=code, lines=lines)


@pytest.fixture(scope="module")
def model_files(tmp_path_factory):
    """The bytes of a model by the ending of its file, and those of its weights alone."""
    folder = tmp_path_factory.mktemp("models")
    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Flatten(), layers.Dense(4, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save_weights(folder / "a.weights.h5")
    return {ending: saved(model, ending, folder) for ending in ("keras", "h5")} | {
        "weights": (folder / "a.weights.h5").read_bytes()
    }


@pytest.mark.parametrize("case", spread(DATA, 8, ALL))
def test_data_that_is_wrong_is_told_in_a_line(case, answer, evidence, tmp_path):
    content, words = DATA[case]
    write_project(tmp_path)
    (tmp_path / "data.npz").write_bytes(content)
    refused(answer, evidence, "data", case, words, "validate", "train.yaml")


def first_layer(change):
    def changed(config):
        change(config["config"]["layers"][1])
        return config

    return changed


def of_class(name, module="keras.layers"):
    return first_layer(lambda layer: layer.update(class_name=name, module=module, registered_name=name))


CONFIGS = {
    "a list": (lambda config: [config], "config"),
    "null": (lambda config: None, "config"),
    "a number": (lambda config: 3, "config"),
    "a text": (lambda config: "net", "config"),
    "nothing": (lambda config: {}, "config"),
    "no layers": (lambda config: {**config, "config": {**config["config"], "layers": None}}, "model.keras"),
    "layers that are numbers": (
        lambda config: {**config, "config": {**config["config"], "layers": [1, 2]}},
        "model.keras",
    ),
    "a class that is not there": (of_class("Dnse"), "Dnse"),
    "a class of nobody": (of_class("Mine", "my.package"), "Mine"),
    "a class that is a number": (of_class(3), "model.keras"),
    "a function for a class": (of_class("system", "os"), "system"),
    "a module that runs at import": (of_class("Popen", "subprocess"), "Popen"),
    "a layer without a config": (first_layer(lambda layer: layer.pop("config")), "model.keras"),
    "a config that is a list": (first_layer(lambda layer: layer.update(config=[1])), "model.keras"),
    "an argument too many": (first_layer(lambda layer: layer["config"].update(nothing=1)), "model.keras"),
}


@pytest.mark.parametrize("case", spread(CONFIGS, 4, ALL))
def test_a_model_whose_config_is_wrong_is_told_in_a_line(case, answer, evidence, tmp_path, model_files):
    change, words = CONFIGS[case]
    (tmp_path / "model.keras").write_bytes(with_config(model_files["keras"], change))
    refused(answer, evidence, "model", f"config is {case}", words, "inspect", "model.keras")


FILES = {
    "nothing.keras": (lambda files: b"", "nothing.keras"),
    "text.keras": (lambda files: b"hello there", "text.keras"),
    "zeros.keras": (lambda files: bytes(1000), "zeros.keras"),
    "picture.keras": (lambda files: b"\x89PNG\r\n\x1a\n" + bytes(100), "picture.keras"),
    "page.keras": (lambda files: b"<!DOCTYPE html><html></html>", "page.keras"),
    "pointer.keras": (lambda files: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer.keras"),
    "cut.keras": (lambda files: files["keras"][:3000], "cut.keras"),
    "h5.keras": (lambda files: files["h5"], "h5.keras"),
    "tflite.keras": (lambda files: b"\x1c\0\0\0TFL3" + bytes(100), "tflite.keras"),
    "empty_zip.keras": (lambda files: archive(), "empty_zip.keras"),
    "other_zip.keras": (lambda files: archive(word__txt="hello"), "other_zip.keras"),
    "no_weights.keras": (lambda files: archive(config__json="{}", metadata__json="{}"), "no_weights.keras"),
    "config_of_text.keras": (lambda files: archive(config__json="{", metadata__json="{}"), "config_of_text.keras"),
    "nothing.h5": (lambda files: b"", "nothing.h5"),
    "text.h5": (lambda files: b"hello there", "text.h5"),
    "keras.h5": (lambda files: files["keras"], "keras.h5"),
    "cut.h5": (lambda files: files["h5"][:3000], "cut.h5"),
    "weights.h5": (lambda files: files["weights"], "weights.h5"),
    "nothing.tflite": (lambda files: b"", "nothing.tflite"),
    "text.tflite": (lambda files: b"hello there", "text.tflite"),
    "head.tflite": (lambda files: b"\x1c\0\0\0TFL3", "head.tflite"),
    "zeros.tflite": (lambda files: b"\x1c\0\0\0TFL3" + bytes(1000), "zeros.tflite"),
    "ones.tflite": (lambda files: b"\x1c\0\0\0TFL3" + b"\xff" * 1000, "ones.tflite"),
    "keras.tflite": (lambda files: files["keras"], "keras.tflite"),
    "model.onnx": (lambda files: b"\x08\x07", "onnx"),
    "model.pt": (lambda files: archive(data__pkl=b"\x80\x02."), "model.pt"),
    "model.pb": (lambda files: b"\x0a\x00", "model.pb"),
    "model.txt": (lambda files: b"hello", "model.txt"),
    "model": (lambda files: b"hello", "model"),
}


@pytest.mark.parametrize("command", ["inspect", "convert"])
@pytest.mark.parametrize("name", spread(FILES, 6, ALL))
def test_a_file_that_is_no_model_is_told_in_a_line(name, command, answer, evidence, tmp_path, model_files):
    content, words = FILES[name]
    (tmp_path / name).write_bytes(content(model_files))
    refused(answer, evidence, "model", f"{command} {name}", words, command, name)
    assert [path.name for path in tmp_path.iterdir()] == [name], "something was left"


CODE = {
    "nothing": ("", "build"),
    "not Python": ("def build(:\n", "model.py"),
    "raises when it is imported": ("1 / 0\n\ndef build():\n    pass\n", "ZeroDivisionError"),
    "exits when it is imported": ("raise SystemExit(7)\n", "model.py"),
    "imports what is not there": ("import nothing_such\n\ndef build():\n    pass\n", "nothing_such"),
    "no function": ("build = 3\n", "build"),
    "returns nothing": ("def build():\n    pass\n", "build"),
    "returns a text": ("def build():\n    return 'model'\n", "build"),
    "returns a layer": ("import keras\ndef build():\n    return keras.layers.Dense(2)\n", "build"),
    "raises": ("def build():\n    raise KeyError('x')\n", "KeyError"),
    "wants an argument": ("def build(size):\n    pass\n", "size"),
    "a generator": ("def build():\n    yield 1\n", "build"),
    "two lines of a reason": ("def build():\n    raise ValueError('a\\nb')\n", "ValueError"),
    "recursion": ("def build():\n    return build()\n", "RecursionError"),
    "an exit": ("import sys\ndef build():\n    sys.exit(3)\n", "build"),
    "a model without weights to train": (
        "from keras import Sequential, layers\n"
        "def build():\n    return Sequential([layers.Input((6, 6, 1)), layers.Flatten()])\n",
        "loss",
    ),
    "a model that is not built": (
        "import keras\ndef build():\n    return keras.Sequential([keras.layers.Dense(4)])\n",
        "no weights yet",
    ),
}


@pytest.mark.parametrize("case", spread(CODE, 4, ALL))
def test_a_function_that_makes_no_model_is_told_in_a_line(case, answer, evidence, tmp_path):
    text, words = CODE[case]
    write_project(tmp_path)
    (tmp_path / "model.py").write_text(text)
    refused(answer, evidence, "model function", case, words, "validate", "train.yaml")


RESULTS = {
    "nothing there": (None, "r"),
    "a folder of nothing": ({}, "r"),
    "a record that is empty": ({"a/artifact.json": ""}, "r"),
    "a record of text": ({"a/artifact.json": "hello"}, "r"),
    "a record of a list": ({"a/artifact.json": "[]"}, "r"),
    "a record of a number": ({"a/artifact.json": "3"}, "r"),
    "a record of nothing": ({"a/artifact.json": "{}"}, "r"),
    "a record without its model": ({"a/artifact.json": json.dumps({"name": "a"})}, "r"),
    "a deep record": ({"a/artifact.json": "[" * 100_000}, "r"),
    "a record that is a folder": ({"a/artifact.json/x": ""}, "r"),
    "another folder": ({"notes.txt": "mine"}, "r"),
}


@pytest.mark.parametrize("command", ["report", "clean"])
@pytest.mark.parametrize("case", RESULTS)
def test_a_folder_that_has_no_results_is_told_in_a_line(case, command, answer, evidence, tmp_path):
    files, words = RESULTS[case]
    folder = tmp_path / "r"
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if files is not None:
        folder.mkdir(exist_ok=True)
    before = sorted(folder.rglob("*"))
    if command == "clean" and case.startswith(("a record", "a deep")):
        return  # a run's folder by its name: its owner may remove it
    refused(answer, evidence, "results", f"{command}: {case}", words, command, "r")
    assert sorted(folder.rglob("*")) == before


WORDS = {
    "rnu": "Did you mean 'run'?",
    "--versoin": "--version",
    "-x": "-x",
    "run": "recipe",
    "run nothing.yaml": "nothing.yaml",
    "run .": "is a folder",
    "run r.yaml --otu x": "--out",
    "run r.yaml --seed x": "whole number",
    "run r.yaml --seed": "--seed",
    "run r.yaml --seed -1": "--seed",
    "run r.yaml --workers 0": "--workers is 1 or above",
    "run r.yaml --strategy many": "'many'",
    "run r.yaml extra": "extra",
    "run r.yaml --quiet --verbose": "contradict",
    "run r.yaml": "r.yaml:2: there is no file 'm.py'",
    "validate": "recipe",
    "validate nothing.yaml": "nothing.yaml",
    "validate r.yaml --quick=3": "--quick",
    "inspect": "file",
    "inspect nothing.keras": "nothing.keras",
    "inspect .": "folder",
    "inspect empty.tflite --snippet perl": "'perl'",
    "convert": "model",
    "convert nothing.keras": "nothing.keras",
    "convert empty.tflite": "converted already",
    "convert nothing.keras --mode int9": "'int9'",
    "convert nothing.keras --samples -1": "--samples is 1 or above",
    "convert nothing.keras --samples x": "whole number",
    "convert nothing.keras --target moon": "'moon'",
    "convert nothing.keras --rounding up": "'up'",
    "sensitivity": "model",
    "sensitivity nothing.keras": "nothing.keras",
    "compare": "models",
    "compare a.tflite": "two models",
    "compare a.tflite b.tflite": "a.tflite",
    "export": "source",
    "export nothing": "nothing",
    "export empty.tflite": "TFL3",
    "report": "folder",
    "report r.yaml": "no results",
    "clean": "recipe",
    "clean nothing": "nothing",
    "stages moon": "'moon'",
    "stages train extra": "extra",
    "devices moon": "'moon'",
    "schema extra": "extra",
    "learning-rate": "recipe",
    "learning-rate nothing.yaml": "nothing.yaml",
    "search nothing.yaml": "nothing.yaml",
    "search r.yaml": "no stage whose work can be shared",
    "search r.yaml --workers 0": "--workers is 1 or above",
}


@pytest.mark.parametrize("command", spread(WORDS, 16, ALL))
def test_wrong_words_are_told_in_a_line(command, answer, evidence, tmp_path):
    (tmp_path / "r.yaml").write_text("name: r\nmodel: m.py:b\ndata: digits\nstages: [quantize]\n")
    (tmp_path / "empty.tflite").write_bytes(b"")
    refused(answer, evidence, "words", command, WORDS[command], *command.split())

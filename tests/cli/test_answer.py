"""What commands print: JSON and nothing else, a path and nothing else, or tables that fit the terminal."""

import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.own_stages import COPY_AND_GATE
from tfopt.cli import screen
from tfopt.recipe import stage

NOISY = '''

class Noisy(tfopt.Stage):
    """Copies the model, while a library prints."""

    kind: ClassVar[str] = "noisy"

    def run(self, inputs, context):
        os.write(1, b"noise of a library\\n")
        print("noise of Python")
        shutil.copy(inputs[0].path, context.folder / "model.keras")
        return context.artifact(self, inputs, "model.keras", metrics={"accuracy": float("nan")})
'''
MODEL = '''
import keras

print("noise of a user's file")


def build():
    """A tiny classifier."""
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax", name="last")]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy")
    return model
'''


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with a model, data and stages, as the working directory; forgotten afterwards."""
    own, before = stage._OWN, dict(stage._OWN)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_stages.py").write_text(COPY_AND_GATE + NOISY)
    (tmp_path / "model.py").write_text(MODEL)
    x = np.ones((20, 3), np.float32)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.arange(20) % 2, x_test=x, y_test=np.arange(20) % 2)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    for name, stages in (("ok", "copy: {name: a}"), ("noisy", "noisy"), ("gate", "gate: {failed: too bad}")):
        chain = "copy: {name: a}, " if name == "gate" else ""
        (tmp_path / f"{name}.yaml").write_text(
            f"name: {name}\nmodel: model.py:build\ndata: npz:data.npz\nuse: my_stages.py\nstages: [{chain}{stages}]\n"
        )
    yield tmp_path
    own.clear()
    own.update(before)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def saved():
    """model.keras in the working directory."""
    layers = [keras.layers.Input((3,)), keras.layers.Dense(64, name="first"), keras.layers.Dense(64, name="last")]
    keras.Sequential(layers).save("model.keras")


def only_json(text):
    """The document; fails on anything before or after it, and on numbers that are none."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_run_in_json_is_the_record_and_the_path(cli, project):
    code, out, err = cli("run", "noisy.yaml", "--json")
    record = only_json(out)
    assert (code, err) == (0, "")
    assert record["file"] == str(project / "saved_models" / "noisy" / "noisy" / "model.keras")
    assert record["baseline"]["name"] == "source"
    assert record["rows"][-1]["metrics"] == {"accuracy": None}
    assert record["passed"] is True
    assert only_json(cli("run", "noisy.yaml", "--json")[1])["reused"] == ["noisy"]


def test_a_gate_that_failed_is_in_the_document_with_its_exit_code(cli, project):
    code, out, err = cli("run", "gate.yaml", "--json")
    record = only_json(out)
    assert (code, err) == (3, "too bad\n")
    assert record["passed"] is False
    assert record["file"] == str(project / "saved_models" / "gate" / "a" / "model.keras")


def test_a_gate_that_failed_still_names_the_file_on_the_last_lines(cli):
    code, out, err = cli("run", "gate.yaml")
    assert (code, err) == (3, "too bad\n")
    assert out.splitlines()[-2:] == [
        "file    saved_models/gate/a/model.keras",
        "report  saved_models/gate/report.html",
    ]


WRONG = {
    "run": ("run", "none.yaml"),
    "validate": ("validate", "none.yaml"),
    "convert": ("convert", "none.keras", "--mode", "float32"),
    "convert without data": ("convert", "model.keras"),
    "convert with a wrong rule": ("convert", "model.keras", "--rule", "int8"),
    "inspect": ("inspect", "none.tflite"),
    "compare": ("compare", "none.tflite", "none.keras"),
    "convert for a target with wrong options": ("convert", "model.keras", "--target", "tflm:foo"),
    "inspect with a snippet": ("inspect", "none.tflite", "--snippet", "python"),
    "sensitivity": ("sensitivity", "none.keras"),
    "sensitivity without data": ("sensitivity", "none.keras", "--prune"),
    "learning-rate": ("learning-rate", "none.yaml"),
    "learning-rate of wrong limits": ("learning-rate", "ok.yaml", "--low", "2", "--high", "1"),
    "report": ("report", "none"),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_an_error_is_a_document_too_and_a_line_on_the_error_stream(cli, saved, arguments):
    code, out, err = cli(*arguments, "--json")
    record = only_json(out)
    assert code == record["exit_code"] == 2
    assert err == f"{record['error']}\n"
    assert len(err.splitlines()) == 1


def test_validate_inspect_and_convert_in_json(cli, saved, project):
    steps = only_json(cli("validate", "ok.yaml", "--json")[1])["steps"]
    assert steps == [{"name": "a", "kind": "copy", "parents": ["source"]}]
    looked = only_json(cli("inspect", "model.keras", "--json")[1])
    assert [part["name"] for part in looked["parts"]][-2:] == ["first", "last"]
    code, out, err = cli("convert", "model.keras", "--data", "x.npy", "--json")
    record = only_json(out)
    assert code == 0
    assert record["bytes"] == Path(record["file"]).stat().st_size
    assert record["float32_bytes"] > record["bytes"]
    assert all(line.startswith("warning: ") for line in err.splitlines())


def test_quiet_is_the_path_alone(cli, saved):
    assert cli("run", "noisy.yaml", "--quiet") == (0, "saved_models/noisy/noisy/model.keras\n", "")
    code, out, err = cli("convert", "model.keras", "--mode", "float32", "-q")
    assert (code, out, err) == (0, "model-float32.tflite\n", "")
    assert cli("run", "gate.yaml", "-q") == (3, "saved_models/gate/a/model.keras\n", "too bad\n")


def test_verbose_shows_what_is_printed_and_beside_json_on_the_error_stream(cli, saved):
    code, out, err = cli("run", "noisy.yaml", "--verbose")
    assert (code, err) == (0, "")
    for line in ("noise of a library", "noise of Python"):
        assert line in out
    code, out, err = cli("run", "noisy.yaml", "--out", "again", "--verbose", "--json")
    assert only_json(out)["passed"] is True
    assert "noise of a library" in err


def test_quiet_and_verbose_contradict_each_other(cli, saved):
    for command in (("run", "ok.yaml"), ("convert", "model.keras", "--mode", "float32")):
        code, out, err = cli(*command, "--quiet", "--verbose")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "Received: both" in err


def test_convert_says_both_sizes_and_how_many_times_smaller(cli, saved, project):
    code, out, _ = cli("convert", "model.keras", "--data", "x.npy")
    assert cli("convert", "model.keras", "--mode", "float32")[0] == code == 0
    before = (project / "model-float32.tflite").stat().st_size
    after = (project / "model-int8.tflite").stat().st_size
    assert f"{before:,} -> {after:,} B ({before / after:.1f}x)" in out
    assert " -> " not in cli("convert", "model.keras", "--mode", "float32", "--force")[1]


def test_compare_prints_figures_and_differences_and_a_page(cli, saved, project):
    cli("convert", "model.keras", "--mode", "float32")
    y = np.arange(20) % 2
    np.savez("labelled.npz", x=np.ones((20, 3), np.float32), y=y)
    asked = ("compare", "model-float32.tflite", "model.keras", "--data", "labelled.npz", "--seconds", "0.1")
    code, out, err = cli(*asked, "--page", "page.html")
    assert (code, err) == (0, "")
    for word in ("model-float32.tflite", "model.keras", "accuracy", "McNemar", "page  page.html"):
        assert word in out
    assert "<svg" in (project / "page.html").read_text()
    assert len(only_json(cli(*asked, "--json")[1])["models"]) == 2
    assert cli(*asked, "--page", "none/page.html")[0] == 2


@pytest.mark.parametrize(
    ("environment", "styled"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True)],
    ids=["a pipe", "FORCE_COLOR", "NO_COLOR"],
)
def test_colours_are_as_the_environment_says_and_a_pipe_has_no_bars(cli, monkeypatch, environment, styled):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = cli("run", "ok.yaml")[1]
    assert ("\x1b[" in out) == styled  # Rich keeps bold and dim without colours
    assert "NO_COLOR" not in environment or not re.search(r"\x1b\[([0-9]*;)*[349]\d", out)
    assert not re.search(r"\x1b\[[0-9]*[AK]|\x1b\[\?25", out)
    assert "[1/1] a: runs" in out
    assert not screen.open_console().is_interactive

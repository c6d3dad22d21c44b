"""The command `reproduce`: a run made again elsewhere, with the same bytes or a word on what differs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfopt.pipeline import runner
from tfopt.pipeline.provenance import changed
from tfopt.pipeline.reproduction import Reproduction, difference
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.workspace import Workspace

MODEL = """
import keras


def build():
    return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4, activation="softmax", name="last")])
"""
RECIPE = """
name: r
model: model.py:build
data: npz:data.npz
loss: sparse_categorical_crossentropy
stages:
  - train: {epochs: 1}
  - quantize: {mode: dynamic}
  - verify: {}
"""


def write_data(folder, first=0.0):
    x = np.linspace(first, 1, 60, dtype=np.float32).reshape(20, 3)
    y = np.arange(20) % 4
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a recipe that was run."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "model.py").write_text(MODEL)
    (folder / "r.yaml").write_text(RECIPE)
    write_data(folder)
    runner.run(folder / "r.yaml", folder / "saved_models")
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of it, as the working directory, where each test may change what it likes."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


RUN = "saved_models/r"


def test_a_run_gives_the_same_bytes_elsewhere(cli, project):
    code, out, err = cli("reproduce", RUN, "--recipe", "r.yaml", "--out", "again")
    lines = [line for line in out.splitlines() if "the same" in line or line.startswith("reproduced")]
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in lines] == [
        "source/model.keras",
        "train/model.keras",
        "quantize/model.tflite",
        "reproduced:",
    ]
    assert lines[-1] == "reproduced: 3 of 3 files have the same bytes"
    for name in ("train/model.keras", "quantize/model.tflite"):
        assert (project / RUN / name).read_bytes() == (project / "again" / "r" / name).read_bytes()


def test_other_bytes_and_other_versions_are_named(cli, project):
    file = project / RUN / "quantize" / "model.tflite"
    content = file.read_bytes()
    artifact = Artifact.read(file.parent)
    file.write_bytes(bytes([*content[:-1], content[-1] ^ 1]))
    old = {**artifact.environment, "keras": "3.0.0", "gone": "1.0"}
    replace(artifact, environment=old).write()
    code, out, err = cli("reproduce", RUN, "--recipe", "r.yaml")
    assert code == 1
    assert "keras: 3.0.0 then, 3." in out
    assert "gone: 1.0 then, none now" in out
    assert f"quantize/model.tflite  1 of {len(content):,} bytes" in out
    assert f"the first at {len(content) - 1:#x}" in out
    assert err == "2 of 3 files have the same bytes. The versions differ: keras, gone.\n"


def test_a_stage_that_is_damaged_or_gone_differs(cli, project):
    shutil.rmtree(project / RUN / "verify")
    (project / RUN / "train" / "artifact.json").write_text("{}")
    for name in ("train/model.keras", "quantize/model.tflite"):
        file = project / RUN / name
        file.write_bytes(file.read_bytes()[:-200] + bytes(200))
    code, out, err = cli("reproduce", RUN, "--recipe", "r.yaml")
    assert (code, err) == (1, "1 of 5 files have the same bytes.\n")
    assert "train/artifact.json  is damaged or was not there then" in out
    assert "verify/artifact.json  is damaged or was not there then" in out


def test_no_file_at_all_is_not_the_same():
    assert not Reproduction((), (), Path()).same


def test_json_is_one_document(cli, project):
    code, out, _ = cli("reproduce", RUN, "--recipe", "r.yaml", "--json")
    told = json.loads(out)
    assert (code, told["same"], told["versions"]) == (0, True, [])
    assert {file["difference"] for file in told["files"]} == {""}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: write_data(folder, 0.1), "the data is not what"),
        (lambda folder: (folder / "model.py").write_text(MODEL.replace("4", "5")), "the model is not what"),
        (
            lambda folder: (folder / "r.yaml").write_text(RECIPE.replace("epochs: 1", "epochs: 2") + "seed: 3\n"),
            "the seed and the stage train are not what",
        ),
        (lambda folder: (folder / RUN / "provenance.json").unlink(), "no record of what it was made from"),
        (lambda folder: (folder / RUN / "provenance.json").write_text("{}"), "no record of what it was made from"),
        (lambda folder: (folder / RUN / "recipe.yaml").write_text(RECIPE), "beside it are not of the same run"),
    ],
    ids=["data", "model", "recipe", "no record", "damaged record", "another recipe"],
)
def test_inputs_that_are_others_are_said_before_anything_is_computed(cli, project, change, words):
    change(project)
    code, _, err = cli("reproduce", RUN, "--recipe", "r.yaml", "--out", "again")
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1
    assert not Path("again").exists()


def test_results_that_come_in_between_prove_nothing(cli, project, monkeypatch):
    shutil.copytree(project / RUN, project / "again" / "r")
    monkeypatch.setattr(Workspace, "is_run", property(lambda self: False))  # as it was before they came
    code, _, err = cli("reproduce", RUN, "--recipe", "r.yaml", "--out", "again")
    assert code == 2
    assert "was filled by another run meanwhile: train, quantize, verify proves nothing." in err


def test_results_that_are_there_already_prove_nothing(cli, project):
    shutil.copytree(project / RUN, project / "again" / "r")
    code, _, err = cli("reproduce", RUN, "--recipe", "r.yaml", "--out", "again")
    assert code == 2
    assert "again/r holds results already, which prove nothing. Name another folder with --out." in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "has no recipe of a run that was finished"),
        (["."], "has no recipe of a run that was finished"),
        ([".", "--recipe", "r.yaml"], "holds no results"),
        ([RUN, "--recipe", "r.yaml", "--out", "saved_models"], "is the run itself"),
    ],
)
def test_what_is_no_run_is_refused(cli, project, arguments, words):
    code, _, err = cli("reproduce", *arguments)
    assert code == 2
    assert words in err


def test_a_difference_says_how_much_where_and_in_what():
    assert difference("a.c", b"same", b"same") == ""
    assert difference("a.c", b"0123456789", b"0x234567y9") == "2 of 10 bytes, the first at 0x1"
    assert difference("a.c", b"0123", b"012") == "4 bytes then, 3 now"


@pytest.mark.parametrize(
    "content",
    [b"", b"what is this", b"PK\x05\x06" + bytes(18), bytes(4) + b"TFL3" + b"\xff" * 40],
    ids=["empty", "text", "zip", "tflite"],
)
@pytest.mark.parametrize("name", ["model.keras", "model.tflite"])
def test_files_that_cannot_be_read_differ(name, content):
    assert difference(name, content, content + b"?") == f"{len(content)} bytes then, {len(content) + 1} now"


def test_inputs_that_changed_are_named():
    then = {"seed": 0, "model": "m", "data": "d", "loss and metrics": "l", "stages": {"train": "1", "prune": "2"}}
    now = {**then, "data": "e", "stages": {"train": "1", "quantize": "3"}}
    assert changed(then, then) == []
    assert changed(then, now) == ["the data", "the stage prune", "the stage quantize"]

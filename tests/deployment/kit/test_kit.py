"""The folder of a kit: the same each time, over nothing of somebody else's; and what no kit is made of."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfopt
from tests.deployment.conftest import build, converted
from tfopt.deployment import usage
from tfopt.deployment.kit.card import model_card
from tfopt.deployment.kit.golden import MADE_UP, made_up
from tfopt.deployment.kit.model import Arena
from tfopt.deployment.kit.refusals import against_tflm, check_exportable
from tfopt.deployment.kit.source import DeviceForm, KitSource
from tfopt.errors import InputError, StorageError
from tfopt.tflite.file import parse

COMMON = {
    *("CMakeLists.txt", "README.md", "SHA256SUMS", "kit.json", "model.tflite", "model_card.md"),
    *("android/Model.kt", "cpp/predict.cpp", "python/predict.py"),
    *("c/digits.h", "c/digits_golden.c", "c/digits_golden.h", "c/digits_model.c"),
}
TFLM = {"c/digits_golden_main.cc", "c/digits_ops.h", "c/digits_tflm.cc", "c/digits_tflm.h"}


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_kits_are_equal_byte_by_byte_wherever_they_lie(kit_of):
    first = tree(kit_of("digits", folder="a").folder)
    assert set(first) == COMMON | TFLM
    assert first == tree(kit_of("digits", folder="b/c").folder)
    assert not [path for path, content in first.items() if b"/tmp" in content or b"/home" in content]


def test_the_sums_are_those_of_the_files(kit_of):
    files = tree(kit_of("digits").folder)
    lines = files.pop("SHA256SUMS").decode().splitlines()
    assert lines == [f"{hashlib.sha256(files[path]).hexdigest()}  {path}" for path in sorted(files)]
    assert files["model.tflite"] == converted("digits", "int8")


def test_the_readme_names_every_file_and_the_arena_is_said_not_to_be_measured(kit_of):
    kit = kit_of("digits")
    text = (kit.folder / "README.md").read_text()
    assert all(f"`{path}`" in text for path in kit.files)
    assert "The tensor arena is not measured" in text
    assert "pip install 'tfopt[tflm]'" in text
    assert [line for line in kit.warnings if "the tensor arena is not measured" in line]
    assert "digits_tflm_arena_used" in text


def test_the_kit_says_what_programs_ask(kit_of):
    kit = kit_of("senses")
    record = json.loads((kit.folder / "kit.json").read_text())
    assert [end["name"] for end in record["inputs"]] == [end.usage.name for end in kit.model.inputs]
    assert record["bytes"] == len(converted("senses", "int8"))
    assert record["tflm"] == kit.model.not_on_tflm
    assert not TFLM & {path.replace("senses", "digits") for path in kit.files}
    assert "There is no code for LiteRT for Microcontrollers" in (kit.folder / "README.md").read_text()
    [said] = [line for line in kit.warnings if "has no SELECT" in line]
    assert said.endswith("An Embedding makes it. Look ids up outside of the model.")


def test_the_python_of_a_kit_runs_where_its_file_lies(kit_of):
    folder = kit_of("digits").folder
    done = subprocess.run([sys.executable, "python/predict.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_kit_is_written_over_a_kit_and_over_nothing_else(kit_of, tmp_path):
    folder = kit_of("digits").folder
    kit_of("digits", "float32")
    assert (folder / "model.tflite").read_bytes() == converted("digits", "float32")
    assert not list(tmp_path.glob(".*"))
    (folder / "notes.txt").write_text("mine")
    before = tree(folder)
    with pytest.raises(InputError, match=r"notes\.txt was added to this one\. Name another folder\. Received: "):
        kit_of("digits")
    assert tree(folder) == before
    (folder / "notes.txt").unlink()
    (folder / "c/digits.h").write_text("mine")
    with pytest.raises(InputError, match=r"c/digits\.h of this one was changed"):
        kit_of("digits")
    assert (folder / "c/digits.h").read_text() == "mine"


def test_a_kit_of_another_model_is_written_over_where_that_is_asked_for(kit_of, tmp_path):
    folder = kit_of("digits").folder
    with pytest.raises(InputError, match=r"holds the kit of 'digits', and this one is of 'other'\. .* --force"):
        tfopt.export(converted("digits", "int8"), folder, name="other")
    assert json.loads((folder / "kit.json").read_text())["name"] == "digits"
    (tmp_path / "digits.tflite").write_bytes(converted("digits", "int8"))
    tfopt.export(tmp_path / "digits.tflite", folder)  # the same file
    (tmp_path / "digits.tflite").write_bytes(converted("digits", "float32"))
    with pytest.raises(InputError, match="the kit of another file of that name"):
        tfopt.export(tmp_path / "digits.tflite", folder)
    assert (folder / "model.tflite").read_bytes() == converted("digits", "int8")
    tfopt.export(tmp_path / "digits.tflite", folder, force=True)
    assert (folder / "model.tflite").read_bytes() == converted("digits", "float32")


def test_an_older_kit_is_back_where_the_new_one_cannot_take_its_place(kit_of, tmp_path, monkeypatch):
    folder = kit_of("digits").folder
    before, rename = tree(folder), os.rename

    def no_new(source, target):
        if Path(source).name == "new":
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", no_new)
    with pytest.raises(StorageError, match="No space left"):
        kit_of("digits", "float32")
    assert tree(folder) == before
    assert not list(tmp_path.glob(".*"))


def test_what_killed_processes_left_is_removed_and_the_kit_that_one_moved_aside_is_back(kit_of, tmp_path):
    kit_of("digits").folder.rename(tmp_path / "whole")
    left, running = tmp_path / ".kit.kit-4194304-ab", tmp_path / f".kit.kit-{os.getppid()}-cd"  # above all numbers
    for folder in (left, running):
        (folder / "new").mkdir(parents=True)
    (tmp_path / "whole").rename(left / "old")
    with pytest.raises(InputError, match=r"holds the kit of 'digits', and this one is of 'other'"):
        tfopt.export(converted("digits", "int8"), tmp_path / "kit", name="other")
    assert (tmp_path / "kit" / "kit.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [running.name, "kit"]


def test_a_folder_of_other_files_and_a_file_are_refused(kit_of, tmp_path):
    (tmp_path / "kit").mkdir()
    kit_of("digits")  # an empty folder is free
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("a")
    (tmp_path / "file").write_text("a")
    with pytest.raises(InputError, match="this one has other files in it"):
        kit_of("digits", folder="mine")
    with pytest.raises(InputError, match="a kit is a folder, and there is a file of that name"):
        kit_of("digits", folder="file")
    with pytest.raises(StorageError, match="cannot be written"):
        kit_of("digits", folder="file/kit")
    assert (tmp_path / "mine" / "a.txt").read_text() == "a"


def test_inputs_are_made_up_where_none_are_given_and_the_kit_says_so(kit_of):
    kit = kit_of("senses", samples=None)
    assert kit.model.golden.samples == MADE_UP
    assert [line for line in kit.warnings if "made up" in line]
    details = {"ids": {"dtype": np.int32, "shape_signature": [1, 50], "quantization": (0.0, 0)}}
    assert set(np.unique(made_up(details, 4)["ids"])) == {0, 1}


def test_golden_vectors_are_fewer_of_large_inputs(kit_of, monkeypatch):
    monkeypatch.setattr("tfopt.deployment.kit.golden.MOST_NUMBERS", 130)
    assert kit_of("digits").model.golden.count == 2
    monkeypatch.setattr("tfopt.deployment.kit.golden.MOST_NUMBERS", 1)
    assert kit_of("digits").model.golden.count == 1


@pytest.mark.parametrize(("measured", "margin", "total"), [(2416, 1024, 3440), (100_001, 10_000, 110_016)])
def test_the_arena_is_the_measured_one_with_a_margin_in_steps_of_16(measured, margin, total):
    arena = Arena(measured, 7)
    assert (arena.margin, arena.bytes) == (margin, total)
    assert Arena(None, 1001).bytes == 1008


def test_a_model_card_has_the_figures_of_the_file(kit_of):
    model = dataclasses.replace(
        kit_of("digits").model, figures={"accuracy": 0.97, "raw_bytes": 2160}, scores=("accuracy",), lineage=("a", "b")
    )
    text = model_card(model)
    assert text.startswith("---\n")
    assert "- accuracy: 0.9700\n- bytes: 2,160\n" in text
    assert "1. a\n2. b" in text
    assert "Evaluation" not in model_card(dataclasses.replace(model, figures={}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda u: dataclasses.replace(u, signature=None), "there is none. Convert it with tfopt"),
        (lambda u: dataclasses.replace(u, ops=("CONV_2D", "FlexErf")), "with FlexErf"),
        (
            lambda u: dataclasses.replace(u, inputs=(dataclasses.replace(u.inputs[0], dtype="string"),)),
            "with 'pixels' of type string",
        ),
        (
            lambda u: dataclasses.replace(u, inputs=(dataclasses.replace(u.inputs[0], shape=(1, -1, -1, 1)),)),
            "Convert a model with a fixed input shape",
        ),
    ],
    ids=["signature", "flex", "strings", "any size"],
)
def test_what_no_c_project_can_use_is_refused_in_one_line(change, words, one_line):
    content = converted("digits", "int8")
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        check_exportable(content, change(usage(content)), "a.tflite")
    assert "Received: a.tflite" in one_line(caught)


def test_several_signatures_are_refused_by_name(monkeypatch, one_line):
    content = converted("digits", "int8")
    found, told = parse(content)[1], usage(content)
    twice = dataclasses.make_dataclass("Twice", ["signatureDefs"])([*found.signatureDefs, *found.signatureDefs])
    monkeypatch.setattr("tfopt.tflite.file.parse", lambda source: (content, twice))
    with pytest.raises(InputError, match="with one signature") as caught:
        check_exportable(content, told, "a.tflite")
    assert "serving_default, serving_default" in one_line(caught)


def test_what_tflm_does_not_run_is_told():
    found = usage(converted("digits", "int8"))
    assert against_tflm(found, found.ops) == ""
    assert against_tflm(found, ("TFLM_DECODE", "ethos-u")) == ""
    assert "CONV_3D" in against_tflm(found, ("CONV_3D",))
    assert "resource variables" in against_tflm(found, ("VAR_HANDLE",))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"array": "hex"}, "an array is written as string, incbin, plain"),
        ({"golden": 0}, "at least one golden vector"),
        ({"target": "ethos-u55-128"}, "there is no file for ethos-u55-128 beside model.tflite"),
    ],
)
def test_settings_that_cannot_work_are_refused(kit_of, settings, words, tmp_path):
    with pytest.raises(InputError, match=re.escape(words)):
        kit_of("digits", **settings)
    assert not (tmp_path / "kit").exists()


def test_the_file_of_the_only_device_is_taken_and_of_several_one_has_to_be_chosen(tmp_path):
    content = converted("digits", "int8")
    one = DeviceForm("ethos-u55-128", tmp_path / "model.vela.tflite")
    two = DeviceForm("tflm", tmp_path / "model.tflm.tflite")
    source = KitSource(content, usage(content), "digits", "int8/model.tflite", forms={one.target: one})
    assert source.form(None) is one
    assert source.form("tflite") is None
    both = dataclasses.replace(source, forms={one.target: one, two.target: two})
    assert both.form("tflm") is two
    with pytest.raises(InputError, match="Choose one with target: ethos-u55-128, tflm, tflite"):
        both.form(None)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a.tflite", "there is nothing there"),
        ("model.keras", "Convert the model first"),
        ("r.yaml", "Name the folder of its run"),
        ("folder", "the folder of a"),
    ],
)
def test_what_is_no_file_and_no_run_is_refused(tmp_path, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"a")
    (tmp_path / "r.yaml").write_text("name: a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=words):
        tfopt.export(path, "kit")


def test_a_file_of_several_samples_has_vectors_of_as_many(tmp_path, without_tflm):
    model, x = build("digits")
    content = tfopt.convert(model, "int8", calibration=x, batch=3)
    kit = tfopt.export(content, tmp_path / "kit", {"pixels": x["pixels"][:4]}, golden=2)
    assert kit.model.golden.count == 1
    assert kit.model.golden.inputs["pixels"].shape == (1, 3, 8, 8, 1)
    alone = tfopt.export(content, tmp_path / "one", {"pixels": x["pixels"][:1]})
    assert alone.model.golden.outputs["output"].shape == (1, 3, 10)

"""The stage `export`, and the command of its name on what it leaves behind."""

import json
import sys

import pytest

import tfopt
from tfopt.cli import main
from tfopt.data import sources
from tfopt.deployment.kit import export as kits
from tfopt.errors import InputError
from tfopt.recipe.details.kit import ExportedKits
from tfopt.recipe.runtime import Runtime
from tfopt.recipe.stage import Outlook

MODEL = """
import keras

def build():
    return keras.Sequential([
        keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax"),
    ])
"""


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """Runs the command in a folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def cli(*arguments):
        monkeypatch.setattr(sys, "argv", ["tfopt", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capfd.readouterr()
        return caught.value.code or 0, printed.out, printed.err

    return cli


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damaged(source):
    raise InputError("it is damaged.")


def test_a_recipe_ends_with_kits_and_the_command_makes_the_same(recipe, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(kits, "tflm_is_here", lambda: False)
    path = recipe(
        "quantize: {mode: float32, name: float32}", "quantize: {name: int8, after: source}", "export: {golden: 2}"
    )
    code, out, err = cli("run", path, "--out", "out")
    assert code == 0, err
    run = tmp_path / "out" / "t"
    assert out.splitlines()[-3:-1] == ["kit     out/t/export/float32", "kit     out/t/export/int8"]
    assert "file    out/t/int8/model.tflite" in out
    assert "warning: export: int8: the tensor arena is not measured" in err
    artifact = tfopt.Artifact.read(run / "export")
    found = artifact.details.of(ExportedKits).kits
    assert list(found) == ["float32", "int8"]
    assert found["int8"].vectors == 2
    made = tree(run / "export" / "int8")
    assert b"the first samples of the test split" in made["README.md"]
    assert (run / "int8" / "model.tflite").read_bytes() == made["model.tflite"]
    assert "kits to flash" in (run / "report.md").read_text()
    code, out, err = cli("export", "out/t", "--golden", 2, "--quiet")
    assert (code, out) == (0, "kit\n"), err
    again = tree(tmp_path / "kit")
    differ = {name for name in made if made[name] != again[name]}
    assert differ == {"SHA256SUMS", "model_card.md"}  # that of the run has all figures
    assert again["model_card.md"] == (run / "model_card.md").read_bytes()
    code, out, err = cli("export", "out/t/float32", "--out", "other", "--json", "--array", "plain", "--golden", 2)
    assert json.loads(out)["name"] == "t-float32", err
    monkeypatch.setattr("tfopt.cli.export.SAVED_MODELS", tmp_path / "out")
    code, out, err = cli("export", path, "--out", "of_recipe", "--golden", 2)
    assert (code, "of      int8/model.tflite; the run has float32 too" in out) == (0, True), err
    assert tree(tmp_path / "of_recipe") == again
    assert tree(tmp_path / "other")["c/t_float32.h"] == tree(run / "export" / "float32")["c/t_float32.h"]
    monkeypatch.setattr(sources, "load", damaged)
    code, _, err = cli("export", "out/t/float32", "--out", "third", "--golden", 2)
    assert (code, "made up: the run's data cannot be read: it is damaged. Give samples, or --data." in err) == (0, True)


def test_a_run_without_a_file_is_refused_in_a_line(cli, tmp_path):
    folder = tmp_path / "run" / "train"
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"")
    tfopt.Artifact("train", "train", folder, "model.keras", "keras", "k").write()
    code, out, err = cli("export", "run")
    assert (code, out) == (2, "")
    assert err.startswith("a kit is made of a .tflite, and this run has none yet. Add a stage quantize.")
    code, _, err = cli("export", "run/train")
    assert code == 2
    assert err.startswith("a kit is made of a .tflite, and this result is a Keras model.")
    assert not (tmp_path / "kit").exists()


def test_export_is_checked_like_any_other_stage():
    with pytest.raises(tfopt.RecipeError, match=r"export\.golden"):
        tfopt.ExportKit(golden=0)
    with pytest.raises(tfopt.RecipeError, match=r"export\.array"):
        tfopt.ExportKit(array="hex")


@pytest.mark.parametrize(
    ("target", "made_for", "words"),
    [
        ("ethos-u55-128", {"a": "tflm"}, "a is for tflm. Write target: ethos-u55-128 in a"),
        ("tflm", {"a": "litert", "b": "tflm"}, "a is for litert. Write after: b"),
        ("TFLM", {"a": "tflm"}, "Did you mean 'tflm'?"),
        ("tflm", {"a": "tflm"}, ""),
        ("litert", {"a": "tflm"}, ""),
        ("tflite", {"a": "tflm"}, ""),
        (None, {"a": "tflm", "b": "litert"}, ""),
    ],
)
def test_a_target_that_files_are_not_made_for_is_refused_before_training(target, made_for, words):
    outlook = Outlook(Runtime(), inputs={name: tfopt.Quantize(target=one) for name, one in made_for.items()})
    stage = tfopt.ExportKit(target=target)
    if not words:
        return stage.check_settings(outlook)
    with pytest.raises(InputError) as caught:
        stage.check_settings(outlook)
    assert words in str(caught.value)
    assert caught.value.field == ("target",)


def test_validate_says_the_line_of_a_target_without_a_file(recipe, cli):
    path = recipe("train: {epochs: 1}", "quantize: {}", "export: {target: ethos-u55-128}")
    code, _, err = cli("validate", path)
    assert code == 2
    assert "r.yaml:8: a kit for ethos-u55-128 is of a file that was made for it, and quantize is for litert." in err

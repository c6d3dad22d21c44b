"""What is wrong with a file, a name or a setting is said in a line, before TensorFlow is imported."""

import json
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

# Runs every command in one process; TensorFlow, once imported, would stay.
RUN_ALL = """
import contextlib, io, json, sys
from tfopt.cli import main
answers = {}
for name, arguments in json.load(sys.stdin).items():
    sys.argv, said, code = ["tfopt", *arguments], io.StringIO(), 0
    with contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    answers[name] = code, said.getvalue(), sorted({"tensorflow", "keras"} & sys.modules.keys())
print(json.dumps(answers))
"""
MODEL_FILE = """
import keras

def build():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
RECIPE = """name: r
model: {model}
data: {data}
stages:
  - train: {{{train}}}
  - quantize: {{{quantize}}}
  - verify: {{{verify}}}
"""
USUAL = {
    "model": "model.py:build",
    "data": "data.npz",
    "train": "epochs: 1",
    "quantize": "mode: int8",
    "verify": "max_drop: 0.01",
}
# Files in the place of a model, and the words that say what they are.
NO_MODELS = {
    "missing.keras": "there is no file",
    "empty.keras": "it is empty",
    "page.keras": "a web page",
    "pointer.keras": "git lfs pull",
    "cut.keras": "cut short",
    "flipped.keras": "model.weights.h5 in it is damaged",
    "bare.keras": "no weights in it",
    "notes.keras": "no config.json in it, but notes.txt",
    "broken_config.keras": "JSONDecodeError",
    "hdf5.keras": "Give it the suffix .h5",
    "code.keras": "--trust",
    "cut.h5": "cut short",
    "text.h5": "not in HDF5",
    "archive.h5": "Give it the suffix .keras",
    "only.weights.h5": "weights but no model",
    "model.onnx": "ONNX",
    "model.pt": "PyTorch",
    "model.pb": "SavedModel folder",
    "folder": "is a folder",
    "page_saved": "a web page",
    "empty_saved": "is empty",
    "cut_saved": "cut short",
    "graph_saved": "without a Keras model",
}
# What differs from the usual recipe, and the words.
RECIPES = {
    "function": ({"model": "model.py:bild"}, "Did you mean 'build'?"),
    "syntax": ({"model": "syntax.py:build"}, "SyntaxError"),
    "file": ({"model": "models.py:build"}, "there is no file"),
    "package": ({"model": "nothing_there.inner:build"}, "there is no module"),
    "name of Keras": ({"model": "keras.applications:MobilNetV2"}, "Did you mean 'MobileNetV2'?"),
    "damaged model": ({"model": "cut.keras"}, "cut short"),
    "drop of one": ({"verify": "max_drop: 1"}, "write 0.02 for two points"),
    "drop of a file's metric": ({"model": "good.keras", "quantize": "max_drop: 2"}, "write 0.02"),
    "drop in words": ({"verify": "max_drop: one point"}, "verify.max_drop is a number, such as 0.1. Received: 'one"),
    "drop in percent": ({"verify": "max_drop: 1%"}, "write 0.01 for 1%"),
    "drop below nothing": ({"verify": "max_drop: -1"}, "verify.max_drop is 0 or above. Received: -1."),
    "gate": ({"verify": "metric: acuracy"}, "Did you mean 'accuracy'?"),
    "optimizer": ({"train": "epochs: 1, optimizer: adm"}, "Did you mean 'adam'?"),
    "own optimizer": ({"train": "epochs: 1, optimizer: {proximal_adm: {}}"}, "Did you mean 'proximal_adam'?"),
    "both": ({"train": "epochs: 1, oversample: true, class_weight: balanced"}, "Leave one out"),
    "epochs": ({"train": "epochs: many"}, "train.epochs is a whole number. Received: 'many'."),
    "data function": ({"data": "model.py:load"}, "has no 'load'"),
    "missing data": ({"data": "none.npz"}, "there is no file"),
    "damaged data": ({"data": "cut.npz"}, "not a whole .npz file"),
    "no labels": ({"data": "unlabelled.npz"}, "the data has no y_train"),
    "not finite": ({"data": "nan.npz"}, "NaN"),
    "shape": ({"model": "good.keras", "data": "wide.npz"}, "takes samples of shape (4,)"),
}
OTHERS = {
    "inputs cut": (["convert", "good.keras", "--data", "cut.npy"], "not a whole .npy file"),
    "inputs of a shape": (["convert", "good.keras", "--data", "wide.npy"], "takes samples of shape (4,)"),
    "inputs missing": (["sensitivity", "good.keras", "--data", "none.npy"], "there is no file"),
    "inputs by a function": (["convert", "good.keras", "--data", "model.py:load"], "has no 'load'"),
    "a recipe to convert": (["convert", "good.yaml"], "is a recipe and no model file: tfopt run good.yaml"),
    "labels missing": (["sensitivity", "good.keras", "--prune", "--data", "unlabelled.npz"], "no y_train"),
    "metric": (["sensitivity", "good.keras", "--prune", "--data", "data.npz", "--metric", "acuracy"], "Did you mean"),
    "target": (["sensitivity", "good.keras", "--prune", "--data", "data.npz", "--target", "2"], "between 0 and 1"),
    "rates": (["learning-rate", "good.yaml", "--low", "1", "--high", "0.1"], "below --high"),
    "stage to rate": (["learning-rate", "good.yaml", "--stage", "trane"], "Received: trane"),
    "data to rate": (["learning-rate", "good.yaml", "--data", "cut.npz"], "not a whole .npz file"),
    "nothing to share": (["search", "good.yaml"], "no stage whose work can be shared"),
    "no recipe": (["clean", "none.yaml"], "Give the path of a recipe"),
    "a model with nearly the name": (
        ["convert", "goood.keras"],
        "there is no file goood.keras. Did you mean 'good.keras'",
    ),
    "costs of no tflite": (
        ["inspect", "good.keras", "--target", "tflm"],
        "Convert the model first: tfopt convert good.keras --target tflm --data",
    ),
    "both ways": (["convert", "good.keras", "--bias-correction", "--no-bias-correction"], "contradict each other"),
    "mode in another case": (["convert", "good.keras", "--mode", "INT8"], "Did you mean 'int8'?"),
    "a recipe to reproduce": (["reproduce", "good.yaml"], "Name the folder of its run: saved_models/r."),
    "a folder to validate": (["validate", "folder"], "is a folder, and a recipe is a file"),
    "no results": (["report", "folder"], "holds no results"),
    "a cut tflite": (["inspect", "cut.tflite"], "not a whole TFLite file"),
    "an empty tflite": (["inspect", "empty.tflite"], "not a TFLite file"),
    "a text": (["inspect", "notes.txt"], "is not a model file"),
}


def models_in(folder):
    """Writes a model, and the files that are none."""
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.save(folder / "good.keras")
    model.save(folder / "good.h5")
    model.save_weights(folder / "only.weights.h5")
    keras.Sequential([layers.Input((4,)), layers.Lambda(lambda x: 2 * x)]).save(folder / "code.keras")
    content, old = (folder / "good.keras").read_bytes(), (folder / "good.h5").read_bytes()
    flipped = bytearray(content)
    flipped[content.index(b"\x89HDF") + 3000] ^= 255
    files = {
        **dict.fromkeys(("empty.keras", "empty.tflite"), b""),
        "page.keras": b"<!DOCTYPE html><html><body>Not found</body></html>",
        "pointer.keras": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "cut.keras": content[: len(content) // 2],
        "flipped.keras": bytes(flipped),
        "hdf5.keras": old,
        "archive.h5": content,
        "cut.h5": old[: len(old) // 2],
        "cut.tflite": b"\x1c\x00\x00\x00TFL3" + bytes(40),
        **dict.fromkeys(("text.h5", "notes.txt", "model.onnx", "model.pt", "model.pb"), b"hello"),
    }
    for name, part in files.items():
        (folder / name).write_bytes(part)
    with zipfile.ZipFile(folder / "good.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = next(name for name in members if name.endswith(".h5"))
    for name, own in {
        "bare.keras": {key: value for key, value in members.items() if key != weights},
        "notes.keras": {"notes.txt": b"hello"},
        "broken_config.keras": {**members, "config.json": b"{"},
    }.items():
        with zipfile.ZipFile(folder / name, "w") as archive:
            for key, value in own.items():
                archive.writestr(key, value)
    for name, graph in {
        "page_saved": b"<html>",
        "empty_saved": b"",
        "cut_saved": b"\x08\x01\x12\x05abc",
        "graph_saved": b"\x08\x01\x12\x03abc",
    }.items():
        (folder / name).mkdir()
        (folder / name / "saved_model.pb").write_bytes(graph)
    (folder / "folder").mkdir()


def data_in(folder):
    """Writes arrays that fit the model, and others."""
    x, y = np.random.default_rng(0).random((20, 4)).astype(np.float32), np.arange(20) % 3
    broken = x.copy()
    broken[3] = np.nan
    for name, train, labels in (("data", x, y), ("nan", broken, y), ("wide", np.tile(x, 2), y)):
        arrays = {"x_train": train, "y_train": labels, "x_test": train[:9], "y_test": labels[:9]}
        np.savez(folder / f"{name}.npz", **arrays)
    np.savez(folder / "unlabelled.npz", x_train=x, x_test=x, y_test=y)
    np.save(folder / "wide.npy", np.tile(x, 2))
    np.save(folder / "x.npy", x)
    for name in ("data.npz", "x.npy"):
        content = (folder / name).read_bytes()
        (folder / f"cut{(folder / name).suffix}").write_bytes(content[: len(content) // 2])


def commands_in(folder):
    """Every command by the name of its case, and the words that it has to say."""
    (folder / "model.py").write_text(MODEL_FILE)
    (folder / "syntax.py").write_text("def build(:\n")
    (folder / "good.yaml").write_text(RECIPE.format(**USUAL))
    found = dict(OTHERS)
    for name, words in NO_MODELS.items():
        found[f"convert {name}"] = ["convert", name, "--mode", "dynamic", "-o", "made.tflite"], words
        found[f"inspect {name}"] = ["inspect", name], words
        found[f"sensitivity {name}"] = ["sensitivity", name], words
    for number, (name, (changed, words)) in enumerate(RECIPES.items()):
        (folder / f"r{number}.yaml").write_text(RECIPE.format(**{**USUAL, **changed}))
        found[f"run {name}"] = ["run", f"r{number}.yaml", "-o", "results"], words
        found[f"validate {name}"] = ["validate", f"r{number}.yaml"], words
    return found


NAMES = [
    *OTHERS,
    *(f"{command} {name}" for name in NO_MODELS for command in ("convert", "inspect", "sensitivity")),
    *(f"{command} {name}" for name in RECIPES for command in ("run", "validate")),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The exit code, the error line and the heavy modules after each command, with the words it has to say."""
    folder = tmp_path_factory.mktemp("answers")
    models_in(folder)
    data_in(folder)
    commands = commands_in(folder)
    given = json.dumps({name: arguments for name, (arguments, _) in commands.items()})
    ran = subprocess.run(
        [sys.executable, "-c", RUN_ALL], input=given, cwd=folder, capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    left = sorted(path.name for path in folder.iterdir() if path.name in ("made.tflite", "results"))
    return {name: (*found[name], words, left) for name, (_, words) in commands.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_answered_without_tensorflow(answers, name):
    code, said, heavy, words, left = answers[name]
    assert code == 2, said
    assert words in said
    assert len(said.splitlines()) == 1
    assert heavy == []
    assert left == []


def test_a_file_behind_a_block_of_the_users_own_is_in_hdf5_too(tmp_path):
    """Which HDF5 allows: its signature may stand at 512 and at every doubling."""
    from tfopt.models import stored_model

    keras.Sequential([layers.Input((4,)), layers.Dense(3)]).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as plain, h5py.File(tmp_path / "b.h5", "w", userblock_size=512) as moved:
        for key, value in plain.attrs.items():
            moved.attrs[key] = value
    assert "Dense" in {part.kind for part in stored_model.read(tmp_path / "b.h5").parts}

"""The command `init`: recipes of ten models that validate and run as they are, and mistakes that leave no file."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from ruamel.yaml import YAML

from tests.drafting import own_models
from tfopt.recipe.json_schema import SCHEMA_FILE


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a model and its samples, made once: model.keras and samples.npz."""
    made = {}

    def folder_of(make):
        if make.__name__ not in made:
            keras.utils.set_random_seed(0)
            folder = made[make.__name__] = tmp_path_factory.mktemp(make.__name__)
            model, arrays = make()
            model.save(folder / "model.keras")
            np.savez(folder / "samples.npz", **arrays)
        return made[make.__name__]

    return folder_of


def written(folder, name="model.yaml"):
    """The recipe as YAML reads it."""
    return YAML(typ="safe").load((folder / name).read_text())


def kinds(recipe):
    return [next(iter(stage)) for stage in recipe["stages"]]


@pytest.mark.parametrize("make", own_models.MODELS, ids=lambda make: make.__name__)
@pytest.mark.sample(2)
def test_a_recipe_of_a_model_and_its_samples_runs_as_it_is(cli, saved, monkeypatch, make):
    folder = saved(make)
    monkeypatch.chdir(folder)
    code, out, err = cli("init", "model.keras", "--data", "samples.npz", "--force")
    assert code == 0, err
    assert out.splitlines()[-1] == "next tfopt run model.yaml"
    recipe = written(folder)
    assert kinds(recipe)[-3:] == ["quantize", "verify", "benchmark"]
    code, out, err = cli("run", "model.yaml", "--json")
    assert code == 0, err
    assert json.loads(out)["file"].endswith(".tflite")


@pytest.mark.parametrize("make", own_models.MODELS, ids=lambda make: make.__name__)
@pytest.mark.sample(1)
def test_a_recipe_without_samples_says_what_they_have_to_be_and_is_tried_all_the_same(cli, saved, monkeypatch, make):
    folder = saved(make)
    monkeypatch.chdir(folder)
    code, out, err = cli("init", "model.keras", "--out", "bare.yaml", "--force")
    assert code == 0, err
    assert out.splitlines()[-1] == "next tfopt validate bare.yaml"
    assert 'np.savez("bare.npz", ' in (folder / "bare.yaml").read_text() or make is own_models.autoencoder
    assert cli("validate", "bare.yaml", "--quick")[0] == 0
    code, _, err = cli("validate", "bare.yaml")
    assert code == 2
    assert "bare.npz" in err


def test_the_recipe_says_what_was_seen_and_has_its_schema_beside_it(cli, saved, monkeypatch):
    folder = saved(own_models.vision)
    monkeypatch.chdir(folder)
    code, out, _ = cli("init", "model.keras", "--data", "samples.npz", "--out", "seen.yaml", "--goal", "smallest")
    assert code == 0
    text = (folder / "seen.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
    assert "stages" in json.loads((folder / SCHEMA_FILE).read_text())["properties"]
    assert "image (8, 8, 1) float32" in text
    assert "one of 3 classes, by id" in text
    assert "80 samples to train on, 40 to test on" in out
    recipe = written(folder, "seen.yaml")
    assert (recipe["model"], recipe["data"], recipe["metrics"]) == ("model.keras", "samples.npz", ["accuracy"])
    # One sample of the eight that are validated on is more than the point that the goal allows.
    assert recipe["stages"][0]["quantize"] == {"mode": "int8", "max_drop": 0.125, "goal": "smallest"}
    assert "loss" not in recipe


def test_a_model_that_has_learned_nothing_is_trained_first(cli, saved, monkeypatch):
    folder = saved(own_models.multi_label)
    monkeypatch.chdir(folder)
    code, out, _ = cli("init", "model.keras", "--data", "samples.npz", "--goal", "fastest", "--force")
    assert code == 0
    assert "so the recipe trains it first" in out
    recipe = written(folder)
    assert kinds(recipe) == ["train", "prune_channels", "quantize", "verify", "benchmark"]
    assert recipe["loss"] == "binary_crossentropy"


def test_without_labels_a_file_is_held_to_what_the_model_says(cli, saved, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = saved(own_models.vision)
    np.save("x.npy", np.load(folder / "samples.npz")["x_train"])
    code, out, err = cli("init", folder / "model.keras", "--data", "x.npy", "--quiet")
    assert (code, out) == (0, "model.yaml\n"), err
    assert "There are no labels" in (tmp_path / "model.yaml").read_text()
    code, out, err = cli("run", "model.yaml", "--json")
    assert code == 0, err
    assert "verify: the labels are the answers of the model itself" in err
    assert json.loads(out)["file"].endswith("quantize/model.tflite")


def test_samples_held_out_of_those_that_may_have_been_trained_on_are_said_to_be(cli, saved, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = saved(own_models.vision)
    arrays = np.load(folder / "samples.npz")
    np.savez("train.npz", x=arrays["x_train"], y=arrays["y_train"])
    code, out, err = cli("init", folder / "model.keras", "--data", "train.npz")
    assert code == 0, err
    assert "20% of the samples are held out, and the model may have been trained on them" in out
    assert "samples that it may have been trained on" in out
    assert "There is no test split" in (tmp_path / "model.yaml").read_text()


def test_code_that_the_model_needs_is_asked_for_and_named(cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doubling.py").write_text(
        "import keras\n\n\n@keras.saving.register_keras_serializable('own')\nclass Doubling(keras.layers.Layer):\n"
        "    def call(self, x):\n        return 2 * x\n"
    )
    from tfopt.user_code import import_file

    layer = import_file(tmp_path / "doubling.py").Doubling()
    keras.Sequential([layers.Input((4,)), layer, layers.Dense(2, activation="softmax")]).save("model.keras")
    keras.saving.get_custom_objects().pop("own>Doubling")
    np.savez("x.npz", x=np.ones((20, 4), np.float32) * np.arange(20)[:, None], y=np.arange(20) % 2)
    code, _, err = cli("init", "model.keras", "--data", "x.npz")
    assert code == 2
    assert "--use doubling.py" in err
    assert not list(tmp_path.glob("*.yaml"))
    keras.saving.register_keras_serializable("own")(type(layer))
    code, _, err = cli("init", "model.keras", "--data", "x.npz", "--use", "doubling.py")
    assert code == 0, err
    assert written(tmp_path)["use"] == ["doubling.py"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.keras"], "no file"),
        (["model.keras", "--goal", "smalest"], "Did you mean 'smallest'?"),
        (["model.keras", "--target", "tflmm"], "target"),
        (["model.keras", "--out", "recipe.txt"], "a recipe is a .yaml file"),
        (["model.keras", "--out", "there.yaml"], "is there already"),
        (["model.keras", "--data", "none.npz"], "none.npz"),
        (["model.keras", "--data", "wrong.npz"], "takes samples (8, 8, 1)"),
        (["model.keras", "--data", "uneven.npz"], "x 5, y 4"),
        (["model.keras", "--data", "number.npy"], "number"),
        (["model.keras", "--data", "words.npy"], "numbers"),
        (["model.keras", "--data", "none_of_them.npz"], "several classes or none"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[1:]) or "file",
)
def test_a_mistake_is_one_line_and_writes_nothing(cli, saved, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.keras").symlink_to(saved(own_models.vision) / "model.keras")
    (tmp_path / "there.yaml").write_text("mine\n")
    np.savez("wrong.npz", a=np.ones((5, 7)))
    np.savez("uneven.npz", x=np.ones((5, 8, 8, 1)), y=np.ones(4))
    np.save("number.npy", np.float32(5))
    np.save("words.npy", np.full((5, 8, 8, 1), "word"))
    np.savez(
        "none_of_them.npz",
        x=np.ones((5, 8, 8, 1), np.float32),
        y=np.eye(3)[[0, 1, 2, 0, 1]] * [[1], [1], [0], [1], [1]],
    )
    before = sorted(tmp_path.iterdir())
    code, out, err = cli("init", *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert sorted(tmp_path.iterdir()) == before

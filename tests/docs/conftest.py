"""The folder in which the blocks of a page run, and the command in this process."""

import shutil

import numpy as np
import pytest

from tests import in_process
from tests.docs.documents import ROOT
from tfopt.recipe import stage

CLASSES, SIDE = 10, 12


def _samples(count, generator):
    """Images with a bright square whose place tells the class: `(count, side, side, 1)` of 0-1, and the class ids."""
    y = (np.arange(count) % CLASSES).astype(np.int32)
    x = generator.uniform(0, 0.4, (count, SIDE, SIDE, 1)).astype(np.float32)
    for image, label in zip(x, y, strict=True):
        row, column = 2 + 5 * (label // 5), 2 * (label % 5) + 1
        image[row : row + 3, column : column + 2] += 0.6
    return x, y


def _model(x, y):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 1)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.Conv2D(16, 3, strides=2, activation="relu", name="conv_2"),
            layers.Flatten(),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(CLASSES, activation="softmax", name="head"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=6, verbose=0)
    return model


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """The files that a reader has: a trained classifier of small images, its data, a recipe, tfopt's recipes."""
    folder = tmp_path_factory.mktemp("workplace")
    generator = np.random.default_rng(5)
    arrays = {}
    for split, count in (("train", 320), ("test", 120)):
        arrays[f"x_{split}"], arrays[f"y_{split}"] = _samples(count, generator)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "data.npz", **arrays)
    _model(arrays["x_train"], arrays["y_train"]).save(folder / "model.keras")
    (folder / "recipe.yaml").write_text(
        "name: recipe\nmodel: model.keras\ndata: data.npz\nloss: sparse_categorical_crossentropy\n"
        "metrics: [accuracy]\nstages:\n  - prune: {sparsity: 0.5, epochs: 2}\n  - quantize: {mode: int8}\n"
        "  - verify: {max_drop: 0.05}\n"
    )
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def page_folder(workplace, tmp_path, monkeypatch):
    """A copy of those files for one page, which is the working directory."""
    folder = tmp_path / "page"
    shutil.copytree(workplace, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(stage, "_OWN", dict(stage._OWN))  # a page's own stages are gone with it
    return folder


@pytest.fixture
def tfopt(monkeypatch, capfd):
    """Runs the command with a list of words; returns exit code, standard output and standard error."""
    run = in_process.runner(monkeypatch, capfd)
    return lambda words: run(*words)

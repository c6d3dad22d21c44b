"""Models that stages of a run read: loaded once, what is computed of them computed once, and never of a stale one."""

import gc
import os
import weakref

import keras
import numpy as np
import pytest

import tfopt
from tfopt.models import files
from tfopt.models.read_models import KEPT, ReadModels
from tfopt.quantization import float_conversion


class Thing:
    """Stands in for a model."""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.keras"
    file.write_text("one")
    return file


def test_a_file_is_loaded_once_and_anew_once_it_is_another(path):
    reads = ReadModels()
    first = reads.of(path, Thing)
    assert reads.of(path, Thing) is first
    path.write_text("another")
    os.utime(path, ns=(1, 1))
    assert reads.of(path, Thing) is not first


def test_the_last_models_are_kept_and_no_more(path):
    reads, others = ReadModels(), [path.with_name(f"{number}.keras") for number in range(KEPT)]
    first = reads.of(path, Thing)
    for other in others:
        other.write_text("other")
        reads.of(other, Thing)
    assert reads.of(path, Thing) is not first


def test_a_model_that_was_taken_in_is_that_of_its_file(path):
    reads, model = ReadModels(), Thing()
    reads.admit(model, path)
    assert reads.of(path, Thing) is model


def test_only_of_models_that_nobody_changes_is_anything_kept():
    reads, model, other = ReadModels(), Thing(), Thing()
    reads.admit(model)
    count = iter(range(100))
    first = reads.computed(model, "a", lambda: next(count))
    assert reads.computed(model, "a", lambda: next(count)) == first
    assert reads.computed(model, "b", lambda: next(count)) != first
    assert reads.computed(other, "a", lambda: next(count)) != reads.computed(other, "a", lambda: next(count))


def dense():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])


CHANGES = {
    "a weight": lambda model: model.layers[0].bias.assign([0, 0, 1e-3]),
    "what is trained": lambda model: setattr(model.layers[0], "trainable", False),
    "a seed": lambda model: model(np.ones((1, 4)), training=True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_somebody_has_changed_after_all_is_loaded_and_computed_anew(path, change):
    reads = ReadModels()
    first, count = reads.of(path, dense), iter(range(100))
    assert reads.of(path, dense) is first
    assert reads.computed(first, "a", lambda: next(count)) == reads.computed(first, "a", lambda: next(count)) == 0
    CHANGES[change](first)
    assert reads.computed(first, "a", lambda: next(count)) == reads.computed(first, "a", lambda: next(count)) == 1
    again = reads.of(path, dense)
    assert again is not first
    assert reads.of(path, dense) is again


def test_models_are_let_go_of(path):
    reads = ReadModels()
    first = weakref.ref(reads.of(path, dense))
    reads.forget()
    gc.collect()
    assert first() is None


RECIPE = """
name: r
model: {folder}/m.keras
data: npz:{folder}/d.npz
use: [{use}]
stages: [{stages}]
"""


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Runs stages on a finished model; gives how often a model was loaded and converted to float, and the results."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    y = np.arange(64) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    counts = {"loads": 0, "conversions": 0}

    def counting(module, name, what):
        own = getattr(module, name)

        def wrapped(*arguments, **settings):
            counts[what] += 1
            return own(*arguments, **settings)

        monkeypatch.setattr(module, name, wrapped)

    counting(files, "_loaded", "loads")
    counting(float_conversion, "_converted", "conversions")

    def run(stages, name="out", use=""):
        (tmp_path / "r.yaml").write_text(RECIPE.format(folder=tmp_path, stages=stages, use=use))
        return tfopt.run(tmp_path / "r.yaml", tmp_path / name), counts

    return run


def test_a_finished_model_is_loaded_and_converted_once_for_check_files_scores_and_baseline(counted):
    stages = "{quantize: {mode: int8}}, {quantize: {mode: dynamic, after: source}}, verify"
    result, counts = counted(stages)
    assert counts == {"loads": 1, "conversions": 1}
    assert {"quantize", "quantize-2", "verify"} <= set(result.artifacts)


POISON = """
import shutil
from typing import ClassVar

import tfopt


class Poison(tfopt.Stage):
    \"\"\"Changes the model that it was given to read.\"\"\"

    kind: ClassVar[str] = "poison"

    def run(self, inputs, context):
        context.read(inputs[0]).layers[0].bias.assign([1, 2, 3])
        shutil.copy(inputs[0].path, context.folder / "model.keras")
        return context.artifact(self, inputs, "model.keras")
"""


def test_a_stage_that_changes_what_it_reads_changes_nothing_for_others(counted, tmp_path):
    (tmp_path / "poison.py").write_text(POISON)
    clean, _ = counted("{quantize: {mode: float32, after: source}}, verify", "clean")
    result, _ = counted("poison, {quantize: {mode: float32, after: source}}, verify", use="poison.py")
    assert result.artifacts["quantize"].path.read_bytes() == clean.artifacts["quantize"].path.read_bytes()
    assert result.artifacts["verify"].files["quantize"] == clean.artifacts["verify"].files["quantize"]


def test_a_model_that_is_trained_is_not_that_of_the_check(counted):
    result, _ = counted("{train: {epochs: 3, optimizer: {adam: {learning_rate: 0.1}}}}, quantize, verify")
    assert result.artifacts["verify"].files["quantize"]["agreement"] == 1
    trained, _ = counted("{train: {epochs: 3, optimizer: {adam: {learning_rate: 0.1}}}}, quantize, verify", "again")
    assert trained.path.read_bytes() == result.path.read_bytes()

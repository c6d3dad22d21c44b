"""New entries of registries, as a user of tfopt would add them, and a recipe to use them in."""

import json
import sys
from importlib.metadata import EntryPoint

import pytest

import tfopt
import tfopt.registry

MODEL = """
import keras
from keras import layers


def build():
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu", name="conv"), layers.Flatten(),
        layers.Dense(16, activation="relu", name="hidden"), layers.Dense(10, activation="softmax", name="head"),
    ])
"""
REGISTRIES = (
    ("tfopt.sparsity.schedules", "SCHEDULES"),
    ("tfopt.sparsity.allocations", "ALLOCATIONS"),
    ("tfopt.sparsity.structured.importance", "SCORES"),
    *(("tfopt.recipe.modes", name) for name in ("MODES", "RANGES", "ROUNDINGS", "TRAINED_RANGES")),
    ("tfopt.recipe.target", "TARGETS"),
)
HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "ai_edge_litert", "litert_quantizer")


@pytest.fixture
def new_file(tmp_path, monkeypatch):
    """Puts a file into the folder of a registry for the length of a test."""
    added = []

    def add(registry, name, text):
        folder = tmp_path / "added"
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        package = sys.modules[registry.package]
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        monkeypatch.setattr(registry, "_found", None)
        added.append(f"{registry.package}.{name}")

    yield add
    for name in added:
        sys.modules.pop(name, None)


@pytest.fixture
def new_entry_point(tmp_path, monkeypatch):
    """Gives a registry an entry point of another package for the length of a test."""
    added = []

    def add(registry, name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        point = EntryPoint(name, name, registry.group)
        monkeypatch.setattr(tfopt.registry, "entry_points", lambda group: [point] if group == registry.group else [])
        monkeypatch.setattr(registry, "_found", None)
        added.append(name)

    yield add
    for name in added:
        sys.modules.pop(name, None)


@pytest.fixture
def file_of():
    """The file of a registry's folder in which an entry is, without the folder and the ending."""

    def find(registry, entry):
        prefix = f"{registry.package}."
        modules = {name: module for name, module in sys.modules.items() if name.startswith(prefix)}
        [found] = [name for name, module in modules.items() if any(value is entry for value in vars(module).values())]
        return found.removeprefix(prefix)

    return find


@pytest.fixture
def run_stage(tmp_path):
    """Runs one stage, written as in a recipe, on a small untrained model, and returns its artifact."""

    def run(stage):
        (tmp_path / "model.py").write_text(MODEL)
        path = tmp_path / "r.yaml"
        path.write_text(
            "name: t\nmodel: model.py:build\ndata: digits\nloss: sparse_categorical_crossentropy\n"
            f"stages:\n  - {stage}\n"
        )
        return tfopt.run(path, out=tmp_path / "out").artifacts[stage.partition(":")[0]]

    return run


@pytest.fixture(scope="session")
def listed_afresh(python):
    """What a fresh interpreter finds in registries, and what each makes it import of the frameworks.

    By package and name: the names of the entries, and the frameworks that none of those before it has imported.
    """
    code = f"""
import importlib, json, sys
found, seen = [], set()
for package, name in {REGISTRIES!r}:
    names = list(dict(getattr(importlib.import_module(package), name)))
    heavy = set({HEAVY!r}) & sys.modules.keys()
    found.append([[package, name], [names, sorted(heavy - seen)]])
    seen |= heavy
print(json.dumps(found))
"""
    return {tuple(where): found for where, found in json.loads(python(code).splitlines()[-1])}

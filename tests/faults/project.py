"""A project that is over in a second: a model of two layers, 64 samples, and a recipe for each kind of stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MODEL = '''
import keras
from keras import layers


def build():
    """A classifier of 6x6 images; it trains eagerly, as a step or two are over sooner than they would be traced."""
    model = keras.Sequential(
        [
            layers.Input((6, 6, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(4, activation="softmax", name="classes"),
        ],
        name="net",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    return model
'''

# A stage that does nothing but write, for faults in what all stages share.
OWN_STAGES = '''
import shutil
from typing import ClassVar

import tfopt


class Copy(tfopt.Stage):
    """Copies the model."""

    kind: ClassVar[str] = "copy"

    def run(self, inputs, context):
        shutil.copy(inputs[0].path, context.folder / "model.keras")
        return context.artifact(self, inputs, "model.keras", metrics={"accuracy": 0.5}, scores=("accuracy",))
'''

SHORT = "epochs: 2, batch_size: full"
QUANTIZE = "quantize: {mode: int8, samples: 8}"
# The stages of each recipe, by the kind of stage that it is there for.
STAGES = {
    "train": [f"train: {{{SHORT}, early_stopping: {{patience: 4}}}}"],
    "prune": [f"prune: {{{SHORT}, sparsity: 0.5}}"],
    "prune_channels": [f"prune_channels: {{{SHORT}, keep: 0.5, round_to: 1}}"],
    "cluster": [f"cluster: {{{SHORT}, clusters: 4}}"],
    "quantize": [QUANTIZE],
    "qat": [f"qat: {{{SHORT}}}"],
    "search": [
        "search: {within: {gzip_bytes: 100000}, trials: 2, epochs: [1], samples: 8, bits: [8], clusters: [0],"
        " channels: false, training: {batch_size: full}}"
    ],
    "tune": [
        "tune: {stages: [{train: {epochs: 1, batch_size: full}}],"
        " space: {train.optimizer.adam.learning_rate: {choice: [1.0e-4, 1.0e-2]}}, trials: 2}"
    ],
    "verify": [QUANTIZE, "verify: {}"],
    "benchmark": [QUANTIZE, "benchmark: {seconds: 0.02}"],
    "copy": ["copy: {name: a}", "copy: {name: b}"],
    "whole": [f"train: {{{SHORT}}}", QUANTIZE, "verify: {}"],
}
# The kinds of stages that faults are tried in.
KINDS = [name for name in STAGES if name not in ("copy", "whole")]


def write_project(folder: Path) -> Path:
    """Writes the model, the data, a user's stages and all recipes into a folder, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MODEL)
    (folder / "own_stages.py").write_text(OWN_STAGES)
    generator = np.random.default_rng(7)
    y = (np.arange(64) % 4).astype(np.int32)
    x = generator.normal(0, 0.3, (64, 6, 6, 1)).astype(np.float32)
    for sample, label in zip(x, y, strict=True):
        sample[label : label + 2] += 1
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x[:32], y_test=y[:32])
    for name, stages in STAGES.items():
        lines = [f"name: {name}", "model: model.py:build", "data: npz:data.npz", "use: own_stages.py", "stages:"]
        recipe_of(folder, name).write_text("\n".join([*lines, *(f"  - {stage}" for stage in stages), ""]))
    return folder


def recipe_of(folder: Path, name: str) -> Path:
    """The recipe of that name in a project."""
    return folder / f"{name}.yaml"

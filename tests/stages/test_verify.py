"""The stage `verify`: what it says of files that fail its gate, or pass and lose much, and of rare classes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import tfopt
from tfopt.errors import GateError, InputError
from tfopt.metrics import METRICS
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import ConversionWarnings, NoiseRemedy
from tfopt.recipe.details.verification import AccuracyGate, GatedFile
from tfopt.stages.verify import _lost_on_the_way, _remedy, failure

PROJECT = """
import keras
import numpy as np

def build():
    x = keras.Input((4,), name="x")
    a = keras.layers.Dense(8, activation="relu", name="hidden")(x)
    rare, size = keras.layers.Dense(1, "sigmoid", name="rare"), keras.layers.Dense(1, name="size")
    return keras.Model(x, {"rare": rare(a), "size": size(a)})

def load(ones=3):
    generator = np.random.default_rng(0)
    parts = {}
    for split, count in (("train", 900), ("test", 600)):
        x = generator.normal(size=(count, 4)).astype("float32")
        rare = np.zeros(count, int)
        rare[:ones] = 1
        parts[f"x_{split}"], parts[f"y_{split}"] = x, {"rare": rare, "size": x.sum(axis=1)}
    return parts

def load_one_class():
    return load(ones=0)
"""
RECIPE = """
name: r
model: p.py:build
data: p.py:{load}
metrics: {{size: [mae], rare: [roc_auc, accuracy]}}
stages:
  - quantize: {{mode: float32}}
  - verify: {{max_drop: 0.5}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    (folder / "p.py").write_text(PROJECT)
    return folder


def recipe(project, load):
    (project / "r.yaml").write_text(RECIPE.format(load=load))
    return project / "r.yaml"


def test_the_gate_looks_at_the_first_metric_of_the_recipe_and_a_rare_class_is_found(project):
    result = tfopt.run(recipe(project, "load"), project / "out")
    verified = result.artifacts["verify"]
    assert verified.details["gate"]["metric"] == "size_mae"
    assert verified.scores == ("size_mae", "rare_roc_auc", "rare_accuracy")
    assert verified.warnings == ()


def test_test_labels_of_one_class_are_named(project):
    with pytest.raises(InputError, match=r"rare_roc_auc .*test labels.* all of them are of class 0"):
        tfopt.validate(recipe(project, "load_one_class"))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            METRICS["accuracy"].of("kind"),
            "kind_accuracy 0.1833 on LiteRT, 79.72 points worse",
        ),
        (METRICS["mse"], "mse 0.1833 on LiteRT, 0.7972 worse"),
    ],
    ids=["fraction", "error"],
)
def test_a_gate_that_failed_tells_the_loss_in_the_unit_of_the_metric(metric, words):
    said = failure("int8", metric, GatedFile("train", 0.9806, 0.1833, 0.7972), 0.01)
    assert (
        said
        == f"int8 has {words} than the 0.9806 of train; the recipe allows {'1 point' if metric.of_classes else '0.01'}."
    )


def made(name, format):
    return Artifact(name, name, Path(name), f"model.{format}", format, "k")


@pytest.mark.parametrize(
    ("scores", "said"),
    [((0.3367, 0.2067), True), ((0.3367, 0.3267), False), ((0.2, 0.3), False)],
    ids=["far_worse", "within", "better"],
)
def test_what_is_lost_on_the_way_to_a_file_that_passes_is_said_with_both_numbers(scores, said):
    found = _lost_on_the_way(made("int8", "tflite"), made("prune", "keras"), METRICS["accuracy"], scores, 0.02)
    assert bool(found) == said
    if said:
        assert "0.2067" in found
        assert "0.3367: 0.1300" in found
        assert found.endswith("write against: prune.")


def test_the_settings_that_mend_a_file_that_failed_are_said_once():
    remedy = NoiseRemedy(("norm",), ("mode: int8", "io: float32"), 34.0)
    file = replace(made("quantize", "tflite"), details=[remedy])
    said = "quantize is noisy, and most is lost in norm: quantize: {mode: int8, io: float32} would give 34.0 dB."
    assert _remedy(file) == said
    assert _remedy(replace(file, details=[remedy, ConversionWarnings(("another range.",))])) == said
    assert (
        _remedy(replace(file, details=[remedy, ConversionWarnings(("noisy: io: float32 would give 34.0 dB.",))])) == ""
    )
    assert _remedy(made("quantize", "tflite")) == ""


def test_of_an_error_the_larger_one_is_lost():
    found = _lost_on_the_way(made("int8", "tflite"), made("prune", "keras"), METRICS["mae"], (1.0, 1.5), 0.2)
    assert "0.5000" in found


def test_a_score_that_is_no_number_passes_no_gate(project, tmp_path):
    text = RECIPE.format(load="load").replace("size: [mae], rare: [roc_auc, accuracy]", "size: [r2]")
    (project / "one.py").write_text(PROJECT.replace('("test", 600)', '("test", 1)'))
    (project / "nan.yaml").write_text(text.replace("data: p.py", "data: one.py"))
    with pytest.raises(GateError, match=r"quantize has size_r2 nan on LiteRT.* what is not a number"):
        tfopt.run(project / "nan.yaml", tmp_path)
    record = json.loads((tmp_path / "r" / "report.json").read_text(), parse_constant=pytest.fail)
    assert record["passed"] is False
    assert AccuracyGate("r2", 0.5, {"a": GatedFile("b", 1.0, math.nan, math.nan)}).failed == ("a",)


def test_what_the_data_says_of_its_scores_is_said_by_the_run(project, tmp_path):
    (project / "noted.py").write_text(
        f"{PROJECT}\n\ndef noted():\n    return load() | {{'note': 'labels are guesses'}}\n"
    )
    (project / "noted.yaml").write_text(RECIPE.format(load="noted").replace("data: p.py", "data: noted.py"))
    assert tfopt.run(project / "noted.yaml", tmp_path).artifacts["verify"].warnings == ("labels are guesses",)

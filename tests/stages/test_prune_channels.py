"""Stages `prune_channels` and `remove_dead`: what a recipe can ask for, what they report, and what they refuse."""

import json

import keras
import numpy as np
import pytest

import tfopt
from tfopt.sparsity.structured.propagation import TABLE
from tfopt.tflite.interpreter import Runner

MODEL = """
import keras
from keras import layers


class Own(layers.Dense):
    def call(self, x):
        return 2 * super().call(x)


def build():
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(16, 3, use_bias=False, name="conv"),
        layers.BatchNormalization(name="norm"), layers.ReLU(), layers.Flatten(),
        layers.Dense(32, activation="relu", name="hidden"), layers.Dense(10, activation="softmax", name="head"),
    ])


def with_own():
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(32, activation="relu", name="first"),
        Own(32, name="own"), layers.Dense(10, activation="softmax", name="head"),
    ])
"""
RULE = """
from tfopt.sparsity.structured import Axis, Flow, register


@register(Own)
def own(call, inputs, channels):
    out = channels.new(call.operation.units)
    kernel, bias = call.operation.kernel, call.operation.bias
    axes = (Axis(kernel, 0, inputs[0], "takes"), Axis(kernel, 1, out, "makes"), Axis(bias, 0, out, "makes"))
    return Flow((out,), axes, lambda config, count: config.update(units=count(out)))
"""
TRAIN = "train: {epochs: 3}"
CUT = "prune_channels: {keep: 0.5, epochs: 1%s}"


def run(path):
    return tfopt.run(path, out=path.parent / "out").artifacts


def widths(artifact):
    return {row["path"]: row["channels"] for row in artifact.details["layers"]}


def test_a_model_is_cut_trained_quantized_and_reported(recipe):
    made = run(recipe(TRAIN, CUT % ", score: taylor", "quantize: {mode: int8}", "verify: {max_drop: 0.05}"))
    artifact = made["prune_channels"]
    assert widths(artifact) == {"conv": [16, 8], "norm": [16, 8], "hidden": [32, 16], "head": [10, 10]}
    assert len(artifact.details["history"]["loss"]) == 1
    assert artifact.metrics["accuracy"] > 0.85
    model = keras.models.load_model(artifact.path)
    assert [model.get_layer(name).output.shape[-1] for name in ("conv", "norm", "hidden", "head")] == [8, 8, 16, 10]
    assert Runner(made["quantize"].path)(np.zeros((1, 8, 8, 1), np.float32))
    assert not list(artifact.path.parent.rglob(".backup"))
    report = (artifact.path.parents[1] / "report.md").read_text()
    assert "## prune_channels: channels removed" in report
    assert "| `conv` | Conv2D | 16 → 8 | 144 → 72 | 10,368 → 5,184 |" in report
    assert "| `head` | Dense | 10 | 330 → 170 | 640 → 320 |" in report
    rows = json.loads((artifact.path.parents[1] / "report.json").read_text())["artifacts"]
    assert next(row for row in rows if row["name"] == "prune_channels")["details"]["layers"][0]["channels"] == [16, 8]


def test_a_budget_that_the_model_meets_is_said_on_the_screen_and_in_the_report(recipe):
    class Steps(tfopt.Progress):
        said = []

        def step(self, text):
            self.said.append(text)

    path = recipe("prune_channels: {keep: 100000, of: parameters, epochs: 1}", CUT % ", of: flops, name: half")
    with pytest.warns(tfopt.TfoptWarning, match="prune_channels: nothing was removed"):
        made = tfopt.run(path, out=path.parent / "out", progress=Steps()).artifacts
    assert made["half"].warnings == ()
    [(where, reason)] = [(one.where, one.reason) for one in made["prune_channels"].skipped]
    assert (where, reason[:23]) == ("all layers", "nothing was removed: th")
    assert Steps.said[0] == reason
    assert "where 0.500 were asked for" in Steps.said[1]
    assert reason in (made["half"].path.parents[1] / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["parameters", "flops", "bytes"])
def test_budgets_in_rounds(recipe, unit):
    made = run(recipe(f"prune_channels: {{keep: 0.4, of: {unit}, round_to: 1, rounds: 2, epochs: 3}}"))
    artifact = made["prune_channels"]
    assert len(artifact.details["history"]["loss"]) == 3
    sums = [
        sum(row["parameters" if unit == "bytes" else unit][side] for row in artifact.details["layers"])
        for side in (0, 1)
    ]
    assert 0.25 < sums[1] / sums[0] <= (0.45 if unit == "bytes" else 0.4)


def test_sparse_learning_trains_before_channels_go_and_counts_in_the_epochs(recipe):
    class Steps(tfopt.Progress):
        said = []

        def step(self, text):
            self.said.append(text)

    path = recipe(TRAIN, "prune_channels: {keep: 0.5, epochs: 5, rounds: 2, sparse_learning: {share: 0.4}}")
    made = tfopt.run(path, out=path.parent / "out", progress=Steps()).artifacts["prune_channels"]
    assert widths(made) == {"conv": [16, 8], "norm": [16, 8], "hidden": [32, 16], "head": [10, 10]}
    assert [text for text in Steps.said if "sparse" in text] == ["2 epochs of sparse learning"]
    assert len(made.details["history"]["loss"]) == 5
    assert not list(made.path.parent.rglob(".backup"))


def test_an_interrupted_sparse_learning_goes_on_and_is_not_trained_again(recipe):
    class Stops(tfopt.Progress):
        at, trained, noted = 2, 0, []

        def epoch(self, epoch, epochs, logs):
            self.trained += 1
            if self.trained == self.at:
                raise KeyboardInterrupt

        def note(self, text):
            self.noted.append(text)

    path = recipe("prune_channels: {keep: 0.5, epochs: 4, sparse_learning: {}}")
    whole = tfopt.run(path, out=path.parent / "whole").artifacts["prune_channels"]
    stops = Stops()
    with pytest.raises(KeyboardInterrupt):
        tfopt.run(path, out=path.parent / "out", progress=stops)
    stops.at = None
    made = tfopt.run(path, out=path.parent / "out", progress=stops).artifacts["prune_channels"]
    assert any("goes on after epoch" in text for text in stops.noted)
    assert stops.trained < 2 + 4
    assert made.path.read_bytes() == whole.path.read_bytes()


def test_sparse_learning_leaves_the_small_channels_smaller(recipe):
    cut = "prune_channels: {keep: 0.999, of: flops, round_to: 1, epochs: 2, after: train, "
    cut += "optimizer: {sgd: {learning_rate: 0.1}}, "
    path = recipe(
        TRAIN,
        cut + "name: plain}",
        cut + "name: sparse, sparse_learning: {weight: 1.0e-2}}",
    )
    made = tfopt.run(path, out=path.parent / "out").artifacts
    ratios = {}
    for name in ("plain", "sparse"):
        kernel = keras.models.load_model(made[name].path).get_layer("hidden").kernel.numpy()
        norms = np.linalg.norm(kernel, axis=0)
        ratios[name] = norms.min() / norms.max()
    assert ratios["sparse"] < 0.8 * ratios["plain"]


@pytest.mark.slow
def test_only_skip_distillation_and_a_global_ranking(recipe):
    made = run(
        recipe(
            TRAIN,
            CUT % ", only: conv, name: narrow",
            CUT % ", skip: Conv2D, after: train, name: rest, distill: {temperature: 2}",
            CUT % ", ranking: global, score: activity, after: train, name: together, round_to: 1",
        )
    )
    assert widths(made["narrow"])["conv"] == [16, 8]
    assert widths(made["narrow"])["hidden"] == [32, 32]
    assert widths(made["rest"])["conv"] == [16, 16]
    assert {skipped.where: skipped.reason for skipped in made["rest"].skipped} == {"conv": "left out by only/skip"}
    left = widths(made["together"])
    assert left["conv"][1] + left["hidden"][1] == 24


def test_a_layer_of_ones_own_is_a_barrier_until_its_file_registers_it(recipe, tmp_path):
    with pytest.raises(tfopt.InputError, match=r"no channels of this model can be removed\. own: tfopt does not know"):
        tfopt.validate(recipe(CUT % "", build="with_own"))
    path = recipe(CUT % "", build="with_own")
    (tmp_path / "model.py").write_text(MODEL + RULE)
    known = dict(TABLE)
    try:
        made = run(path)
    finally:
        TABLE.clear()
        TABLE.update(known)
    assert widths(made["prune_channels"]) == {"first": [32, 16], "own": [32, 16], "head": [10, 10]}


@pytest.mark.slow
def test_dead_channels_of_a_slimmed_net_go_without_a_change(recipe):
    made = run(
        recipe(
            "train: {epochs: 15, optimizer: {adam: {learning_rate: {cosine: {initial_learning_rate: 0.01}}}}, "
            "regularizers: [{scale_l1: 1.0e-2}]}",
            "remove_dead: {tolerance: 1.0e-3}",
            "quantize: {mode: int8}",
            "verify: {}",
        )
    )
    artifact = made["remove_dead"]
    assert widths(artifact)["conv"][1] < 16
    assert artifact.metrics["removed"] > 0.05
    assert artifact.metrics["agreement"] == 1.0
    assert artifact.metrics["max_error"] < 0.01
    assert artifact.metrics["accuracy"] == made["train"].metrics["accuracy"]
    assert "## remove_dead: channels removed" in (artifact.path.parents[1] / "report.md").read_text()


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("prune_channels: {keep: 0.5, epochs: 1, score: best}", "score"),
        ("prune_channels: {keep: 2, epochs: 1}", "keep is a share of the channels, below 1"),
        ("prune_channels: {keep: 0, epochs: 1}", "is above 0"),
        ("prune_channels: {epochs: 1}", "keep"),
        ("prune_channels: {keep: 50%, epochs: 1}", "keep"),
        ("prune_channels: {keep: 0.5, epochs: 1, rounds: 3}", "3 rounds take as many epochs"),
        ("prune_channels: {keep: 0.5, epochs: 2, rounds: 2, sparse_learning: {}}", "write epochs: 3"),
        ("prune_channels: {keep: 0.5, epochs: 2, sparse_learning: {share: 1}}", "share"),
        ("prune_channels: {keep: 0.5, epochs: 2, sparse_learning: {penalty: l1}}", "penalty"),
        (
            "prune_channels: {keep: 0.5, epochs: 2, sparse_learning: {penalty: batchnorm}, only: hidden}",
            "no trainable BatchNormalization with a scale follows channels",
        ),
        ("prune_channels: {keep: 0.5, epochs: 1, only: convolution}", "matches no layer"),
        ("prune_channels: {keep: 0.5, epochs: 1, only: head}", "no channels are left to remove"),
        ("prune_channels: {keep: 10, of: flops, epochs: 1}", "does not fit 10 flops: the smallest"),
        ("prune_channels: {keep: 0.5, epochs: 1, floor: 2}", "floor"),
        (
            "prune_channels: {keep: 0.2, of: npu_milliseconds, epochs: 1}",
            "It is measured on ethos-u55-32, ethos-u55",
        ),
        ("prune_channels: {keep: 0.2, of: neurons, epochs: 1}", "of on target litert is channels, parameters, flops"),
        ("prune_channels: {keep: 0.5, epochs: 1, round_to: 0}", "round_to"),
        ("prune_channels: {keep: 0.5, epochs: 1, sparsity: 0.5}", "sparsity"),
        ("remove_dead: {tolerance: -1}", "tolerance"),
        ("train: {epochs: 1, regularizers: [{scale_l1: 0.1, only: Dense}]}", "scale_l1 falls on BatchNormalizations"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(recipe, stage, words):
    path = recipe(stage)
    with pytest.raises(tfopt.InputError) as caught:
        tfopt.validate(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:6: ")
    assert words in message
    assert "\n" not in message
    assert not (path.parent / "out").exists()

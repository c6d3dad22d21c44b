"""Stage `prune`: what a recipe can ask for, what it reports, and what it refuses with a file and a line."""

import warnings

import keras
import numpy as np
import pytest

import tfopt
from tfopt.errors import RecipeError

MODEL = """
import keras
from keras import layers


class Own(layers.Layer):
    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(shape[-1], 16))

    def call(self, x):
        return x @ self.matrix


def build():
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu", name="conv"), layers.Flatten(),
        layers.Dense(32, activation="relu", name="hidden"), Own(name="own"),
        layers.Dense(10, activation="softmax", name="head"),
    ])



def plain():
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu", name="conv"), layers.Flatten(),
        layers.Dense(32, activation="relu", name="hidden"), layers.Dense(10, activation="softmax", name="head"),
    ])
"""


def run(path):
    return tfopt.run(path, out=path.parent / "out").artifacts


def test_allocations_rules_and_own_layers_from_one_recipe(recipe):
    made = run(
        recipe(
            "prune: {name: global, sparsity: 0.8, allocation: global, epochs: 1, rules: [{layers: head, sparsity: 0}]}",
            "prune: {name: erk, after: source, sparsity: 0.8, allocation: erk, epochs: 1, prunable: {Own: matrix}}",
            "prune: {name: blocks, after: source, sparsity: 0.8, block: [4, 4], epochs: 1}",
            "prune: {name: pairs, after: source, keep: [2, 4], epochs: 1}",
        )
    )
    shares = {name: made[name].details["sparsity"] for name in ("global", "erk", "blocks", "pairs")}
    assert set(shares["global"]) == {"conv/kernel", "hidden/kernel"}
    sizes = {"conv/kernel": 72, "hidden/kernel": 288 * 32}
    zeros = sum(share * sizes[name] for name, share in shares["global"].items())
    assert zeros == pytest.approx(0.8 * sum(sizes.values()), abs=2)
    assert {skipped.where: skipped.reason for skipped in made["global"].skipped} == {
        "own": "not a layer that TF-MOT prunes; `prunable` can name what to prune in it",
        "head": "kept dense by a rule",
    }
    assert shares["erk"]["hidden/kernel"] > shares["erk"].get("own/matrix", 0)
    assert made["erk"].metrics["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert shares["blocks"]["hidden/kernel"] == pytest.approx(0.8, abs=0.01)
    assert shares["pairs"] == {"hidden/kernel": 0.5, "head/kernel": 0.5}


def test_what_is_left_alone_is_in_the_report_and_no_warning_of_python_beside_it(recipe):
    path = recipe("prune: {sparsity: 0.5, epochs: 1, freeze: [conv, hidden], only: [hidden, head]}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", tfopt.TfoptWarning)
        made = run(path)["prune"]
    assert {one.where: one.reason for one in made.skipped} == {
        "conv": "left out by only/skip",
        "own": "not a layer that TF-MOT prunes; `prunable` can name what to prune in it",
    }
    frozen = run(recipe("prune: {name: frozen, sparsity: 0.5, epochs: 1, freeze: conv}"))["frozen"]
    reason = "it does not train (trainable=False); naming it in `only` chooses it all the same"
    assert {one.where: one.reason for one in frozen.skipped}["conv"] == reason
    assert set(frozen.details["sparsity"]) == {"hidden/kernel", "head/kernel"}


def test_rounds_with_rewinding_end_at_the_sparsity(recipe):
    stage = "prune: {sparsity: 0.875, schedule: iterative, rounds: 3, rewind: %s, epochs: 4, begin: 0.2, end: 0.8}"
    made = run(recipe(stage % "weights", stage.replace("prune: {", "prune: {after: source, ") % "learning_rate"))
    for name in ("prune", "prune-2"):
        assert made[name].details["sparsity"]["hidden/kernel"] == pytest.approx(0.875, abs=0.001)


def test_with_rewinding_a_learning_rate_schedule_spans_one_way_between_prunings():
    from tfopt.data.splits import Data, Split
    from tfopt.recipe.stage import Context

    split = Split(np.zeros((320, 4)), np.zeros(320))
    context = Context("x", "", None, Data(split, split, split), 0)
    stage = tfopt.Prune(
        sparsity=0.5, schedule="iterative", rounds=2, rewind="learning_rate", begin=20, end=60, epochs=10
    )
    assert stage.training(context).decay_steps == 40
    assert stage.model_copy(update={"rewind_to": 15}).training(context).decay_steps == 15 + 40
    assert tfopt.Prune(sparsity=0.5, epochs=10).training(context).decay_steps is None


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("prune: {epochs: 1}", "prune takes sparsity, the fraction of zeros, or keep"),
        ("prune: {epochs: 1, sparsity: 0.5, keep: [2, 4]}", "Write one of them"),
        ("prune: {epochs: 1, keep: [2, 4], block: [1, 4]}", "block means nothing with keep"),
        ("prune: {epochs: 1, keep: [4, 2]}", "0 < n < m"),
        ("prune: {epochs: 1, keep: 2:4}", "prune.keep is written as in keep: [2, 4]. Received: '2:4'"),
        ("prune: {epochs: 1, sparsity: 0.5, block: 4}", "prune.block is written as in block: [1, 4]"),
        ("prune: {epochs: 1, sparsity: 0.5, distill: true}", "distill: {temperature: 4, weight: 0.5}"),
        ("prune: {epochs: 1, sparsity: 0.5, rules: {head: 0.5}}", "rules: [{layers: head, sparsity: 0.5}]"),
        ("prune: {epochs: 1, sparsity: 0.5, block: [512, 512]}", "no layer is left to prune. Of conv/kernel: it is no"),
        ("prune: {epochs: 1, sparsity: 80}", "sparsity"),
        (
            "prune: {epochs: 1, sparsity: 0.5, schedule: one_shot, end: 0.9}",
            "end means nothing with schedule: one_shot",
        ),
        ("prune: {epochs: 1, sparsity: 0.5, schedule: iterative}", "rounds goes with schedule 'iterative'"),
        ("prune: {epochs: 1, sparsity: 0.5, rewind: weights}", "rewind goes with schedule"),
        ("prune: {epochs: 1, sparsity: 0.5, allocation: layerwise}", "allocation"),
        ("prune: {epochs: 1, sparsity: 0.5, rules: [{layers: haed, sparsity: 0.1}]}", "Did you mean 'head'"),
        ("prune: {epochs: 1, sparsity: 0.5, rules: [{layers: head}]}", "sparsity is missing"),
        ("prune: {epochs: 1, sparsity: 0.5, prunable: {Own: [matirx]}}", "has no weight 'matirx'"),
        ("prune: {epochs: 1, sparsity: 0.5, skip: ['*']}", "no layer is left to prune"),
        ("prune: {epochs: 1, sparsity: 0.5, rewind_to: 3}", "rewind_to means nothing without rewind"),
        ("prune: {epochs: 1, sparsity: 0.5, block_pooling: max}", "block_pooling means nothing without block"),
        ("prune: {epochs: 1, sparsity: 0.5, schedule: constant, power: 2}", "power means nothing without schedule"),
        ("prune: {epochs: 1, sparsity: 0.5, schedule: one_shot, begin: 90000}", "Lower begin or raise epochs"),
        (
            "prune: {epochs: 1, sparsity: 0.5, schedule: one_shot, begin: 3, rewind: weights, rewind_to: 3}",
            "rewind_to comes before the first pruning. Received: step 3, pruning at 3",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(recipe, stage, words):
    path = recipe(stage)
    with pytest.raises(tfopt.InputError) as caught:
        tfopt.validate(path)
    assert words in str(caught.value)
    assert f"{path}:6: " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (path.parent / "out").exists()


def test_n_of_m_may_go_back_to_early_weights(recipe):
    made = run(recipe("prune: {keep: [2, 4], begin: 10, rewind: weights, rewind_to: 2, epochs: 1}"))
    assert made["prune"].details["sparsity"] == {"hidden/kernel": 0.5, "head/kernel": 0.5}


def test_the_log_counts_what_the_stage_prunes(recipe):
    made = run(recipe("prune: {sparsity: 0.8, only: Own, prunable: {Own: matrix}, epochs: 1}"))
    logged = made["prune"].details["sparsity_log"][-1]
    assert (
        logged["kernels"]["own/matrix"]
        == made["prune"].details["sparsity"]["own/matrix"]
        == pytest.approx(0.8, abs=0.01)
    )
    assert 0 < logged["overall"] == pytest.approx(made["prune"].metrics["sparsity"], abs=1e-6)


def test_rules_may_be_pasted_one_to_a_line(recipe):
    stage = (
        "prune:\n      sparsity: 0.5\n      epochs: 1\n      rules:\n        - {layers: [conv, head], sparsity: 1.5}"
    )
    path = recipe(stage)
    with pytest.raises(RecipeError, match=r"r\.yaml:10: .*sparsity"):
        tfopt.validate(path)


def test_one_shot_without_training_and_as_the_start_of_one(recipe):
    once = "prune: {name: %s, after: train, sparsity: 0.7, schedule: one_shot, %s}"
    made = run(
        recipe(
            "train: {epochs: 4, optimizer: {adam: {learning_rate: 5.0e-3}}}",
            once % ("gpt", "method: sparsegpt, epochs: 0"),
            once % ("smallest", "epochs: 0"),
            once % ("more", "method: sparsegpt, epochs: 1"),
            build="plain",
        )
    )
    dense, gpt, smallest, more = (made[name] for name in ("train", "gpt", "smallest", "more"))
    for one in (gpt, smallest, more):
        assert one.details["sparsity"]["hidden/kernel"] == pytest.approx(0.7, abs=0.002)
    assert dense.metrics["accuracy"] - 0.2 < gpt.metrics["accuracy"] > smallest.metrics["accuracy"]
    zeros = [keras.saving.load_model(one.path, compile=False).get_layer("hidden").kernel == 0 for one in (gpt, more)]
    np.testing.assert_array_equal(*zeros)  # the training holds the zeros that it began with
    assert "history" in more.details
    assert "history" not in gpt.details


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("epochs: 0", "epochs: 0 prunes once. Write schedule: one_shot. Received: schedule='polynomial'"),
        ("epochs: 1, method: sparsegpt", "method: sparsegpt prunes once. Write schedule: one_shot"),
        ("epochs: 0, schedule: one_shot, l2: 0.1", "l2 means nothing with epochs: 0, which does not train"),
        ("epochs: 1, schedule: one_shot, method: sparsegpt, begin: 0.5", "begin means nothing with method: sparsegpt"),
        ("epochs: 1, samples: 9", "samples means nothing with method: magnitude"),
    ],
)
def test_what_means_nothing_with_one_shot_pruning(recipe, settings, words):
    with pytest.raises(RecipeError, match=words):
        run(recipe(f"prune: {{sparsity: 0.5, {settings}}}"))

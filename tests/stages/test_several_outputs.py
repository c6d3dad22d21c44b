"""Several inputs and outputs, and metrics of any kind, by name from the recipe to the file."""

import json

import numpy as np
import pytest

import tfopt
from tfopt.errors import GateError, InputError
from tfopt.pipeline.plan import Plan
from tfopt.recipe.details.timing import Latencies
from tfopt.recipe.details.verification import ClassChanges
from tfopt.recipe.details.weights import QuantizationErrors, WeightsByLayer
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe
from tfopt.tflite.interpreter import Runner

PROJECT = """
import keras
import numpy as np
from keras import layers

def build():
    image, sound = layers.Input((8, 8, 1), name="image"), layers.Input((6,), name="sound")
    seen = layers.Dense(8, activation="relu")(layers.Flatten()(image))
    both = layers.Concatenate()([seen, layers.Dense(6, activation="relu")(sound)])
    kind = layers.Dense(4, activation="softmax", name="kind")(both)
    size = layers.Dense(1, name="size")(both)
    return keras.Model({"image": image, "sound": sound}, {"kind": kind, "size": size})

def load():
    generator = np.random.default_rng(0)
    parts = {}
    for split, count in (("train", 384), ("test", 128)):
        y = np.arange(count) % 4
        image = generator.normal(0, 0.4, (count, 8, 8)).astype(np.float32)
        for one, label in zip(image, y):
            one[2 * label : 2 * label + 2] += 1
        sound = generator.normal(size=(count, 6)).astype(np.float32)
        parts[f"x_{split}"] = {"sound": sound, "image": image}
        parts[f"y_{split}"] = {"size": sound.sum(axis=1), "kind": y}
    parts["show"] = lambda sample: {"seen": sample["image"], "heard": f"{sample['sound'][0]:.3f}"}
    return parts
"""
OWN = """
import numpy as np

def worst(y, outputs):
    return np.abs(y - outputs[:, 0]).max()

worst.higher_is_better = False
"""
RECIPE = """
name: r
model: p.py:build
data: p.py:load
loss: {kind: sparse_categorical_crossentropy, size: {huber: {delta: 2.0}}}
metrics:
  kind: [accuracy, f1]
  size: [r2, mae, own.py:worst]
stages:
  - train: {epochs: 12, optimizer: {adam: {learning_rate: 5.0e-3}}, early_stopping: {monitor: val_size_r2, patience: 8}}
  - prune: {epochs: 4, sparsity: 0.3}
  - quantize: {name: int8, metric: kind_accuracy, max_drop: 0.05}
  - verify: {metric: size_r2, max_drop: 0.5}
  - benchmark
"""
SCORES = ["kind_accuracy", "kind_f1", "size_r2", "size_mae", "size_worst"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    (folder / "p.py").write_text(PROJECT)
    (folder / "own.py").write_text(OWN)
    (folder / "r.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def result(project):
    return tfopt.run(project / "r.yaml", project / "out")


def test_each_output_is_trained_and_scored_by_its_own_metrics(result):
    for name in ("train", "prune"):
        artifact = result.artifacts[name]
        assert list(artifact.scores) == SCORES
        assert artifact.metrics["kind_accuracy"] > 0.95
        assert artifact.metrics["size_r2"] > 0.8
    history = result.artifacts["train"].details["history"]
    assert {"val_kind_accuracy", "val_size_mae", "val_kind_f1", "val_size_r2", "val_size_worst"} <= set(history)


def test_the_files_inputs_and_outputs_have_the_models_names(result):
    runner = Runner(result.path)
    assert set(runner.inputs) == {"image", "sound"}
    assert set(runner.outputs) == {"kind", "size"}


def test_a_metric_of_the_file_is_that_of_its_outputs_by_hand(result, project):
    namespace = {}
    exec(PROJECT + OWN, namespace)
    parts = namespace["load"]()
    found = Runner(result.path)(parts["x_test"])
    assert result.metrics["kind_accuracy"] == np.mean(found["kind"].argmax(1) == parts["y_test"]["kind"])
    assert result.metrics["size_worst"] == pytest.approx(namespace["worst"](parts["y_test"]["size"], found["size"]))


def test_the_report_has_a_column_for_each_and_the_classes_of_the_one_that_has_some(result):
    text = (result.folder / "report.md").read_text()
    gated_first = ["size_r2", *(score for score in SCORES if score != "size_r2")]
    assert "| stage | " + " | ".join(gated_first) in text
    assert "## int8: class by class" in text
    assert "Confusion matrix of int8" in result.page.read_text()
    by_class = result.artifacts["verify"].details["by_class"]["int8"]["kind"]
    assert np.sum(by_class["confusion"]) == 128


def test_what_changed_class_is_told_by_output_against_the_model_of_the_gate(result):
    changes = result.artifacts["verify"].details.of(ClassChanges)
    [(output, found)] = changes.files["int8"].items()
    assert (output, found.against, found.values) == ("kind", "train", 128)
    labels = np.arange(128) % 4
    after = np.array(found.confusion_after)
    assert after.sum() == 128
    assert np.trace(after) / 128 == pytest.approx(result.artifacts["verify"].metrics["kind_accuracy"])
    assert np.trace(found.confusion_before) / 128 == pytest.approx(result.artifacts["train"].metrics["kind_accuracy"])
    assert found.broken - found.mended == np.trace(found.confusion_before) - np.trace(after)
    assert len(found.samples) == min(found.values - found.same, 24)
    assert all(sample.label == [labels[sample.row]] for sample in found.samples)
    for sample in changes.shown:
        assert {caption: one.kind for caption, one in sample.inputs.items()} == {"seen": "image", "heard": "text"}


def test_the_weights_of_each_layer_are_told_before_and_after(result):
    train, prune, int8 = (result.artifacts[name].details.of(WeightsByLayer) for name in ("train", "prune", "int8"))
    assert all(row.before is None for row in train.rows)
    assert [row.before.bytes for row in prune.rows] == [row.after.bytes for row in train.rows]
    assert [row.before.histogram for row in prune.rows] != [row.after.histogram for row in prune.rows]
    zeros = sum(row.after.zeros for row in prune.rows) / sum(row.after.kernels for row in prune.rows)
    assert zeros == pytest.approx(result.artifacts["prune"].metrics["sparsity"])
    assert {row.after.precision for row in int8.rows} == {"int8"}
    assert int8.file_bytes == result.artifacts["int8"].metrics["raw_bytes"]
    assert {row.layer for row in int8.rows} == {row.layer for row in prune.rows}
    errors = result.artifacts["int8"].details.of(QuantizationErrors)
    assert {"kind", "size"} <= {row.layer for row in errors.rows}


def test_the_spread_of_the_latency_is_that_of_the_figures(result):
    spread = result.artifacts["benchmark"].details.of(Latencies).files["int8"]
    assert spread.seconds["p50"] == result.artifacts["benchmark"].metrics["latency_median_seconds"]
    assert spread.seconds["p99"] == result.artifacts["benchmark"].metrics["latency_p99_seconds"]


def test_the_gate_looks_at_the_metric_that_it_names(project):
    worse = RECIPE.replace("sparsity: 0.3", "sparsity: 0.95").replace(
        "size_r2, max_drop: 0.5", "size_mae, max_drop: 0.0"
    )
    (project / "worse.yaml").write_text(worse)
    with pytest.raises(GateError, match="size_mae"):
        tfopt.run(project / "worse.yaml", project / "out")


def keys(folder):
    return Plan(Recipe.load(folder / "r.yaml"), folder, Progress()).keys()


def test_the_code_of_a_metric_belongs_to_the_results_it_scored(project, tmp_path):
    for file in ("p.py", "own.py", "r.yaml"):
        (tmp_path / file).write_text((project / file).read_text())
    before = keys(tmp_path)
    assert before == keys(project)
    (tmp_path / "own.py").write_text(OWN.replace(".max()", ".mean()"))
    assert not set(keys(tmp_path).values()) & set(before.values())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("kind: [accuracy, f1]", "kid: [accuracy]", "metrics names the output 'kid', and the model's are kind, size"),
        ("{kind: sparse", "{kid: sparse", "the loss is for the output 'kid', and the model's are kind, size"),
        ("metric: size_r2", "metric: size_r3", "'size_r3' is not among the metrics that are measured. Did you mean"),
        ("metric: kind_accuracy", "metric: accuracy", "'accuracy' is not among the metrics that are measured"),
        ("size: [r2, mae, own.py:worst]", "size: [r2, own.py:wurst]", "has no 'wurst'. Did you mean 'worst'"),
        ("size: [r2, mae, own.py:worst]", "size: [accuracy]", "size_accuracy needs class labels"),
        ("kind: [accuracy, f1]", "kind: [accuracy, top_4]", "top_4 needs more than 4 classes"),
        ("monitor: val_size_r2", "monitor: val_size_r3", "nothing is logged as 'val_size_r3'"),
        ("epochs: 12,", "epochs: 12, class_weight: balanced,", "class_weight is for models of one output"),
        ("{huber: {delta: 2.0}}", "{huber: {dleta: 2.0}}", "huber does not take this"),
    ],
)  # fmt: skip
def test_what_names_nothing_is_one_line_with_its_place(project, old, new, sentence):
    assert old in RECIPE
    (project / "wrong.yaml").write_text(RECIPE.replace(old, new))
    with pytest.raises(InputError) as caught:
        tfopt.validate(project / "wrong.yaml")
    [line] = str(caught.value).splitlines()
    assert sentence in line
    assert "wrong.yaml:" in line


def test_targets_without_names_are_asked_for_by_name(project):
    (project / "q.py").write_text(PROJECT.replace('{"size": sound.sum(axis=1), "kind": y}', "y"))
    (project / "q.yaml").write_text(
        RECIPE.replace("p.py:", "q.py:").replace("metrics:", "_:").split("_:")[0] + "stages: [{train: {epochs: 1}}]\n"
    )
    with pytest.raises(InputError, match="outputs kind, size: give y_train as a dict"):
        tfopt.validate(project / "q.yaml")


UNLABELLED = """
import keras
import numpy as np
from keras import layers

def build(named=False):
    x = layers.Input((3,))
    features = layers.Dense(4, activation="relu", name="features")(x)
    head = layers.Dense(2, activation="softmax", name="head")(features)
    return keras.Model(x, {"features": features, "head": head} if named else [features, head])

def load(plain=False, streamed=False):
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    parts = {"x_train": x, "y_train": {"head": y}, "x_test": x, "y_test": {"head": y}}
    if streamed:
        import tensorflow as tf

        rows = tf.data.Dataset.from_tensor_slices((x, {"head": y})).batch(16)
        parts = dict.fromkeys(("train", "validation", "test"), rows)
    return parts | {"y_train": y, "y_test": y} if plain else parts
"""


def unlabelled(folder, stages, data="{p.py:load: {}}", model="p.py:build", metrics=None):
    (folder / "p.py").write_text(UNLABELLED)
    lines = ["name: r", f"model: {model}", f"data: {data}", "loss: {head: sparse_categorical_crossentropy}"]
    lines += [f"metrics: {metrics}"] if metrics else []
    (folder / "r.yaml").write_text("\n".join([*lines, "stages:", *(f"  - {stage}" for stage in stages)]))
    return folder / "r.yaml"


@pytest.mark.parametrize("metrics", [None, "{head: [accuracy]}", "[mse]"])
@pytest.mark.parametrize(
    "stage",
    [
        "quantize: {max_drop: 0.01}",
        "quantize: {metric: head_accuracy}",
        "quantize: {max_drop: 0.01, goal: smallest}",
        "verify",
        "verify: {max_drop: 0.01}",
        "remove_dead",
        "search: {max_drop: 0.1}",
        "tune: {stages: [{train: {epochs: 1}}], space: {train.l2: [0.1, 0.2]}, trials: 1}",
    ],
)
def test_no_metric_is_taken_of_several_outputs_by_labels_without_names(stage, metrics, tmp_path):
    stages = ["quantize", stage] if stage.startswith("verify") else [stage]
    recipe = unlabelled(tmp_path, stages, "{p.py:load: {plain: true}}", metrics=metrics)
    with pytest.raises(InputError, match=r"outputs features, head: give y_(test|train) as a dict by these names"):
        tfopt.validate(recipe)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ("{features: [mse]}", "names the output 'features', and y_test has only head. Give its labels, or leave"),
        ("{feature: [mse]}", "names the output 'feature', and the model's are features, head"),
    ],
)
def test_a_metric_of_an_output_without_labels_is_refused(metrics, words, tmp_path):
    with pytest.raises(InputError, match=words):
        tfopt.validate(unlabelled(tmp_path, ["quantize", "verify"], metrics=metrics))


def test_a_metric_of_the_only_output_by_its_name_counts(tmp_path):
    recipe = unlabelled(tmp_path, ["quantize: {least_snr_db: 0}", "verify"], metrics="{head: [f1]}")
    one = UNLABELLED.replace('{"features": features, "head": head} if named else [features, head]', "head")
    (tmp_path / "p.py").write_text(one.replace('{"head": y}', "y"))
    result = tfopt.run(recipe, tmp_path / "out")
    assert 0 < result.metrics["head_f1"] < 1
    recipe.write_text(recipe.read_text().replace("{head: [f1]}", "{heat: [f1]}"))
    with pytest.raises(InputError, match="names the output 'heat', and the model's are head"):
        tfopt.validate(recipe)


def test_labels_of_none_of_the_outputs_are_refused(tmp_path):
    recipe = unlabelled(tmp_path, ["quantize", "verify"])
    (tmp_path / "p.py").write_text(UNLABELLED.replace('{"head": y}', '{"heat": y}'))
    with pytest.raises(InputError, match="outputs are features, head, and y_test has only heat"):
        tfopt.validate(recipe)


@pytest.mark.parametrize("model", ["{p.py:build: {named: true}}", "p.py:build"])
@pytest.mark.parametrize(
    ("stage", "data", "metrics", "scores"),
    [
        ("train: {epochs: 1}", "{}", "{head: [accuracy, f1]}", ["head_accuracy", "head_f1"]),
        ("prune: {epochs: 1, sparsity: 0.5}", "{streamed: true}", None, ["head_accuracy"]),
    ],
)
@pytest.mark.sample(2)
def test_an_output_without_labels_or_loss_takes_no_part_in_training(model, stage, data, metrics, scores, tmp_path):
    stages = [stage, "quantize: {least_snr_db: 0}"]
    result = tfopt.run(unlabelled(tmp_path, stages, f"{{p.py:load: {data}}}", model, metrics), tmp_path / "out")
    trained = next(artifact for name, artifact in result.artifacts.items() if stage.startswith(name))
    assert list(trained.scores) == scores
    history = trained.details["history"]
    assert np.isfinite(history["loss"]).all()
    assert not [logged for logged in history if "features" in logged]
    assert set(Runner(result.path).outputs) == {"features", "head"}


@pytest.mark.slow
def test_streams_of_named_inputs_train_and_quantize_too(project):
    streamed = (
        PROJECT
        + """
def stream():
    import tensorflow as tf
    parts = load()
    rows = lambda split: tf.data.Dataset.from_tensor_slices((parts[f"x_{split}"], parts[f"y_{split}"]))
    return {
        "train": rows("train").shuffle(384).batch(16),
        "validation": rows("test").batch(50),
        "test": rows("test").batch(7),
    }
"""
    )
    (project / "s.py").write_text(streamed)
    (project / "s.yaml").write_text(RECIPE.replace("p.py:load", "s.py:stream").replace("name: r", "name: s", 1))
    result = tfopt.run(project / "s.yaml", project / "out")
    assert result.metrics["kind_accuracy"] > 0.95
    assert result.metrics["size_r2"] > 0.4
    report = json.loads((result.folder / "report.json").read_text())
    assert report["passed"]

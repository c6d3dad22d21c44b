"""Scores of one logit begin a class at 0, and labels of several classes are decided one by one, everywhere."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, losses
from sklearn import metrics as sk

import tfopt
from tfopt.data.splits import Data, Split
from tfopt.errors import InputError
from tfopt.metrics import METRICS, Decision, find, score_split
from tfopt.models.signature import keras_outputs
from tfopt.tflite.batch_interpreter import file_outputs
from tfopt.training import trainer
from tfopt.training.output_decisions import at_thresholds, decided, decides_at_zero, decisions_of


def binary(y, p):
    return losses.binary_crossentropy(y, p, from_logits=True)


class Weighted(losses.Loss):
    """A loss of a user's own, of logits, with a weight for class 1."""

    def call(self, y, p):
        y = keras.ops.cast(y, "float32")
        return 5 * y * keras.ops.softplus(-p) + (1 - y) * keras.ops.softplus(p)


OF_LOGITS = {
    "cross entropy": losses.BinaryCrossentropy(from_logits=True),
    "smoothed": losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
    "focal": losses.BinaryFocalCrossentropy(from_logits=True, apply_class_balancing=True),
    "settings": {"binary_crossentropy": {"from_logits": True}},
    "partial": functools.partial(losses.binary_crossentropy, from_logits=True),
    "function": binary,
    "own class": Weighted(),
    "hinge": "hinge",
    "squared hinge": "squared_hinge",
}
OF_OTHERS = ["binary_crossentropy", "binary_focal_crossentropy", "mse", "mae", "huber", "log_cosh", "poisson"]


@pytest.mark.parametrize("loss", OF_LOGITS.values(), ids=OF_LOGITS)
def test_a_loss_of_logits_or_margins_decides_at_zero(loss):
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    assert decisions_of(model, loss) == (("output", Decision(logits=True)),)


@pytest.mark.parametrize("loss", OF_OTHERS)
def test_a_loss_of_probabilities_or_values_does_not(loss):
    assert not decides_at_zero(loss)
    assert decisions_of(keras.Sequential([layers.Input((3,)), layers.Dense(1)]), loss) == ()


@pytest.mark.parametrize("loss", [losses.SparseCategoricalCrossentropy(from_logits=True), "categorical_hinge"])
def test_of_several_classes_the_largest_is_taken_still(loss):
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4)])
    assert decisions_of(model, loss, np.array([0, 1, 1, 0])) == ()


def test_a_sigmoid_at_the_end_gives_probabilities_whatever_the_loss_says():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1), layers.Activation("sigmoid")])
    assert decisions_of(model, losses.BinaryCrossentropy(from_logits=True)) == ()


def test_without_a_loss_a_layer_without_an_activation_gives_logits_of_flags():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    assert decisions_of(model, y=np.array([0, 1, 1])) == (("output", Decision(logits=True)),)
    assert decisions_of(model, y=np.array([0.2, 3.0, 1.0])) == ()


def test_each_output_decides_by_its_own_loss():
    x = layers.Input((3,))
    heads = {name: layers.Dense(width, name=name)(x) for name, width in (("flag", 1), ("size", 1), ("tags", 3))}
    model = keras.Model(x, heads)
    logits = losses.BinaryCrossentropy(from_logits=True)
    y = {"flag": np.array([0, 1]), "size": np.array([2.0, 3.0]), "tags": np.array([[1, 1, 0], [0, 0, 0]])}
    found = decisions_of(model, {"flag": logits, "size": "mse", "tags": logits}, y)
    assert dict(found) == {"flag": Decision(logits=True), "tags": Decision(logits=True, multilabel=True)}


# One logit

GENERATOR = np.random.default_rng(0)
FLAGS = GENERATOR.integers(0, 2, 300)
LOGITS = (GENERATOR.normal(0, 0.4, 300) + 0.4 * FLAGS - 0.1)[:, None].astype(np.float32)  # many from 0 to one half


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", sk.accuracy_score),
        ("balanced_accuracy", sk.balanced_accuracy_score),
        ("precision", sk.precision_score),
        ("recall", sk.recall_score),
        ("f1", sk.f1_score),
        ("f1_macro", functools.partial(sk.f1_score, average="macro")),
    ],
)
def test_every_metric_of_classes_cuts_a_logit_at_zero(name, expected):
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    [metric] = decided([find(name)], model, losses.BinaryCrossentropy(from_logits=True))
    found = LOGITS[:, 0] > 0
    assert score_split(metric, Split(LOGITS, FLAGS), {"output": LOGITS}) == pytest.approx(expected(FLAGS, found))
    assert metric.score(FLAGS, LOGITS) != pytest.approx(expected(FLAGS, found))


def test_the_order_of_large_logits_is_not_lost():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    [metric] = decided([METRICS["roc_auc"]], model, losses.BinaryCrossentropy(from_logits=True))
    large = np.float32([[100], [200], [300], [400]])
    assert score_split(metric, Split(large, np.array([0, 0, 1, 1])), {"output": large}) == 1


def one_logit():
    """A model that gives its only input as a logit, and such samples."""
    model = keras.Sequential([layers.Input((1,)), layers.Dense(1)])
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    model.compile(keras.optimizers.SGD(0.0), losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    return model, LOGITS, FLAGS


AT_ZERO = float(((LOGITS[:, 0] > 0) == FLAGS).mean())


@pytest.mark.parametrize("metrics", [(), (METRICS["accuracy"], METRICS["f1"])], ids=["its own", "the recipe's"])
def test_the_log_of_a_training_is_of_the_same_accuracy(metrics, tmp_path):
    model, x, y = one_logit()
    split = Split(x, y)
    settings = trainer.FitSettings(epochs=1, metrics=metrics, optimizer={"sgd": {"learning_rate": 1e-9}})
    history = trainer.fit(model, Data(split, split, split), settings, tmp_path)
    assert history["accuracy"][-1] == pytest.approx(AT_ZERO)
    assert history["val_accuracy"][-1] == pytest.approx(AT_ZERO)
    if metrics:
        assert history["val_f1"][-1] == pytest.approx(sk.f1_score(y, x[:, 0] > 0))
    model.save(tmp_path / "model.keras")  # and Keras alone loads what it was compiled with
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] == pytest.approx(AT_ZERO)


def test_a_subclassed_model_is_no_exception():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model.compile(loss=losses.BinaryCrossentropy(from_logits=True))
    split = Split(LOGITS, FLAGS)
    [metric] = decided([METRICS["accuracy"]], model, y=FLAGS)
    assert score_split(metric, split, keras_outputs(model, split)) == pytest.approx(AT_ZERO)


def test_the_callback_scores_a_logit_at_zero():
    model, x, y = one_logit()
    scores = tfopt.callbacks.ValidationScores((x, y), ["accuracy", "f1"])
    history = model.fit(x, y, verbose=0, callbacks=[scores]).history
    assert history["val_accuracy"] == [pytest.approx(AT_ZERO)]
    assert history["val_f1"] == [pytest.approx(sk.f1_score(y, x[:, 0] > 0))]


def test_the_callback_refuses_labels_without_names_of_several_outputs_before_it_trains():
    one, x, y = one_logit()
    model = keras.Model(one.inputs, [one.outputs[0], one.outputs[0] * 2])
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(InputError, match="give y as a dict by these names"):
        model.fit(x, [y, y], verbose=0, callbacks=[tfopt.callbacks.ValidationScores((x, y), ["f1"])])
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))


def test_layers_are_ranked_by_the_accuracy_at_zero():
    model, x, y = one_logit()
    [curve] = tfopt.sparsity.rank_layers(model, (x, y), target=0.5, sparsities=(0.5,)).curves
    assert curve.baseline == pytest.approx(AT_ZERO)


def test_a_recipe_reports_it_of_model_and_file_with_the_table_of_classes(tmp_path):
    model, x, y = one_logit()
    split = (x, y)
    recipe = tfopt.Recipe(
        name="r",
        model=model,
        data={"train": split, "validation": split, "test": split},
        metrics=["accuracy", "f1"],
        stages=[
            tfopt.Train(epochs=1, optimizer={"sgd": {"learning_rate": 1e-9}}),
            tfopt.Quantize(mode="int8", max_drop=0.05),
            tfopt.Verify(max_drop=0.05),
        ],
    )
    result = tfopt.run(recipe, tmp_path)
    outputs = file_outputs(result.path, x)["output"][:, 0]
    assert result.artifacts["train"].metrics["accuracy"] == pytest.approx(AT_ZERO)
    assert result.metrics["accuracy"] == pytest.approx((y == (outputs > 0)).mean())
    assert result.metrics["f1"] == pytest.approx(sk.f1_score(y, outputs > 0))
    report = (tmp_path / "r" / "report.md").read_text()
    precision, recall, f1, support = (values[1] for values in sk.precision_recall_fscore_support(y, outputs > 0))
    assert f"| 1 | {precision:.4f} | {recall:.4f} | {f1:.4f} | {support} |" in report


# Several decisions a sample

TAGS = np.array(GENERATOR.random((400, 3)) < [0.2, 0.5, 0.7]).astype(np.float32)
TAG_LOGITS = (GENERATOR.normal(0, 0.4, (400, 3)) + 0.4 * TAGS - 0.1).astype(np.float32)


def several(activation, loss):
    model = keras.Sequential([layers.Input((3,)), layers.Dense(3), layers.Activation(activation)])
    model.layers[0].set_weights([np.eye(3), np.zeros(3)])
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("linear", losses.BinaryCrossentropy(from_logits=True)),
        ("sigmoid", "binary_crossentropy"),
        ("sigmoid", losses.BinaryFocalCrossentropy()),
    ],
)
@pytest.mark.sample(1)
def test_labels_of_several_classes_are_decided_one_by_one(activation, loss, tmp_path):
    model = several(activation, loss)
    outputs, split, found = keras_outputs(model, TAG_LOGITS), Split(TAG_LOGITS, TAGS), TAG_LOGITS > 0
    values = {
        name: score_split(metric, split, outputs)
        for name in ("accuracy", "f1", "f1_micro", "precision", "recall_weighted", "balanced_accuracy", "roc_auc")
        for metric in decided([find(name)], model, y=TAGS)
    }
    assert values == {
        "accuracy": pytest.approx((found == TAGS).mean()),
        "f1": pytest.approx(sk.f1_score(TAGS, found, average="macro")),
        "f1_micro": pytest.approx(sk.f1_score(TAGS, found, average="micro")),
        "precision": pytest.approx(sk.precision_score(TAGS, found, average="macro")),
        "recall_weighted": pytest.approx(sk.recall_score(TAGS, found, average="weighted")),
        "balanced_accuracy": pytest.approx(
            np.mean([sk.balanced_accuracy_score(TAGS[:, k], found[:, k]) for k in range(3)])
        ),
        "roc_auc": pytest.approx(sk.roc_auc_score(TAGS, TAG_LOGITS, average="macro")),
    }
    settings = trainer.FitSettings(epochs=1, optimizer={"sgd": {"learning_rate": 1e-9}})
    history = trainer.fit(model, Data(split, split, split), settings, tmp_path)
    assert history["val_accuracy"] == [pytest.approx((found == TAGS).mean())]


def test_a_recipe_of_several_decisions_reports_every_class(tmp_path):
    split = (TAG_LOGITS, TAGS)
    recipe = tfopt.Recipe(
        name="r",
        model=several("linear", losses.BinaryCrossentropy(from_logits=True)),
        data={"train": split, "validation": split, "test": split},
        stages=[tfopt.Quantize(mode="int8", max_drop=0.05), tfopt.Verify()],
    )
    result = tfopt.run(recipe, tmp_path)
    [outputs] = file_outputs(result.path, TAG_LOGITS).values()
    assert result.metrics["accuracy"] == pytest.approx(((outputs > 0) == TAGS).mean())
    precision, recall, f1, support = (v[2] for v in sk.precision_recall_fscore_support(TAGS, outputs > 0))
    report = (tmp_path / "r" / "report.md").read_text()
    assert f"| 2 | {precision:.4f} | {recall:.4f} | {f1:.4f} | {support} |" in report
    assert "confusion" not in report


def test_metrics_that_compile_was_given_keep_their_form():
    decisions = (("a", Decision(logits=True)),)
    given = at_thresholds({"a": ["accuracy", "mae"], "b": "accuracy"}, decisions, ["a", "b"])
    assert given["a"][0].get_config()["threshold"] == 0.0
    assert (given["a"][1], given["b"]) == ("mae", "accuracy")
    [[first], second] = at_thresholds([["acc"], "acc"], decisions, ["a", "b"])
    assert (first.name, second) == ("acc", "acc")
    assert at_thresholds(None, decisions, ["a"]) is None

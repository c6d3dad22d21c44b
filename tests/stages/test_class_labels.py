"""Labels and metrics of classes: what is refused, and what is said of few samples and of one class."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfopt.data.splits import Split
from tfopt.errors import InputError
from tfopt.metrics import METRICS
from tfopt.stages.class_labels import check_class_labels, one_class_warning, small_split_warning

ONE = {"price": np.zeros((8, 1), np.float32)}


def check(labels, loss, metric="accuracy", outputs=ONE):
    model = SimpleNamespace(outputs=None, output_names=None, loss=None)
    check_class_labels(METRICS[metric], np.asarray(labels), outputs, model, loss)


@pytest.mark.parametrize(
    ("labels", "loss", "metric"),
    [
        ([-62_040.3, 12.5, 387_743.0], "mae", "accuracy"),
        ([1.0, 2.0, 3.0], "mse", "f1"),
        ([0.25, 0.5, 1.0], "huber", "roc_auc"),
        ([-1.5, 0.5, 2.5], None, "accuracy"),
    ],
    ids=["prices", "whole_numbers", "shares", "no_loss"],
)
def test_a_metric_of_classes_is_refused_for_measured_values(labels, loss, metric):
    with pytest.raises(
        InputError, match=rf"^{metric} needs class labels.* 3 different numbers.*Use mae or r2"
    ) as caught:
        check(labels, loss, metric)
    assert caught.value.field == ("metrics",)


@pytest.mark.parametrize(
    ("labels", "loss", "outputs"),
    [
        ([0.1, 0.5, 0.9], "binary_crossentropy", ONE),
        ([0.1, 0.5, 0.9], None, ONE),
        ([0, 1, 1], "mse", ONE),
        ([-1, 1, 1], "hinge", ONE),
        ([-1.0, 1.0, 1.0], "mse", ONE),
        ([0, 1, 2], "mse", {"kind": np.zeros((8, 3), np.float32)}),
    ],
    ids=["soft", "soft_without_loss", "two_classes", "margins", "two_numbers", "several_scores"],
)
def test_labels_of_classes_are_taken(labels, loss, outputs):
    check(labels, loss, outputs=outputs)


def test_metrics_of_values_take_any_labels():
    check([-62_040.3, 12.5, 387_743.0], "mae", "r2")


def test_an_output_of_several_is_named_with_its_labels():
    outputs = {**ONE, "kind": np.zeros((8, 3), np.float32)}
    labels = {"price": np.arange(8) / 3, "kind": np.arange(8) % 3}
    model = SimpleNamespace(outputs=None, output_names=["price", "kind"], loss=None)
    with pytest.raises(InputError, match=r"^price_accuracy .* y_test\['price'\] has 8 .*metrics: \{price: \[mae\]\}"):
        check_class_labels(METRICS["accuracy"].of("price"), labels, outputs, model, "mse")


@pytest.mark.parametrize(
    ("count", "words"),
    [(5, "5 test samples: one sample is 20 points"), (1, "1 test sample: it is 100 points"), (100, "")],
    ids=["five", "one", "enough"],
)
def test_few_test_samples_are_said(count, words):
    test = Split(np.zeros((count, 2)), np.zeros(count, int))
    assert small_split_warning(test, [METRICS["accuracy"]]).startswith(words)
    assert bool(small_split_warning(test, [METRICS["mae"], METRICS["f1"]])) == bool(words)
    assert small_split_warning(test, [METRICS["mae"]]) == ""


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.ones(20, int), "all 20 labels in y_train are 1:"),
        (np.eye(3, dtype=int)[np.full(20, 2)], "all 20 labels in y_train are class 2:"),
        ({"kind": np.zeros((20, 1), int), "size": np.ones(20)}, "all 20 labels in y_train['kind'] are 0:"),
        (np.arange(20) % 2, ""),
        (np.ones(20), ""),
        (np.eye(3, dtype=int)[np.arange(20) % 3], ""),
    ],
    ids=["ids", "one_hot", "of_an_output", "two_classes", "values", "one_hot_of_three"],
)
def test_labels_of_one_class_are_said(labels, words):
    found = one_class_warning(Split(np.zeros((20, 2)), labels))
    assert found.startswith(words)
    assert bool(found) == bool(words)

"""Figures of merit by hand, and in whatever way a recipe asks for them."""

import numpy as np
import pytest
from sklearn import metrics as sk

from tfopt.data.splits import Split
from tfopt.errors import InputError
from tfopt.metrics import METRICS, Metric, by_class, find, find_all, output_and_metric, score_split

# Six samples of three classes: class 2 is found once in three, class 0 always.
IDS = np.array([0, 0, 1, 2, 2, 2])
SCORES = np.float32(
    [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]
)
ONE = np.float32([[0.9], [0.8], [0.3], [0.6]])
FLAGS = np.array([1, 0, 0, 1])


def value(name, y=IDS, outputs=SCORES):
    return find(name).score(y, outputs)


def test_balanced_accuracy_is_the_mean_recall():
    assert value("balanced_accuracy") == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert value("accuracy") == pytest.approx(4 / 6)


@pytest.mark.parametrize("labels", [IDS, IDS[:, None], np.eye(3)[IDS], IDS.astype(np.float32)])
@pytest.mark.parametrize("name", ["balanced_accuracy", "f1", "precision", "recall", "roc_auc", "top_2"])
def test_labels_come_in_every_form(name, labels):
    assert value(name, labels) == value(name)


def test_of_one_score_precision_recall_and_f1_are_those_of_class_one():
    # Found: 1 1 0 1 of 1 0 0 1: two hits, one false alarm, nothing missed.
    assert value("precision", FLAGS, ONE) == pytest.approx(2 / 3)
    assert value("recall", FLAGS, ONE) == 1
    assert value("f1", FLAGS, ONE) == pytest.approx(0.8)


def test_roc_auc_counts_pairs_in_the_right_order():
    # Class 1 has 0.9 and 0.6, class 0 has 0.8 and 0.3: three of four pairs are in order.
    assert value("roc_auc", FLAGS, ONE) == pytest.approx(0.75)
    assert value("roc_auc", FLAGS, ONE) == pytest.approx(sk.roc_auc_score(FLAGS, ONE[:, 0]))


def test_roc_auc_of_several_classes_is_the_mean_of_each_against_the_rest():
    expected = sk.roc_auc_score(IDS, SCORES.astype(np.float64) / SCORES.sum(1, keepdims=True), multi_class="ovr")
    assert value("roc_auc") == pytest.approx(expected)
    assert value("roc_auc", IDS, np.log(SCORES)) == pytest.approx(expected)  # logits
    with pytest.raises(ValueError, match="two classes"):
        value("roc_auc", np.zeros(6), SCORES)


def test_top_k_looks_among_the_k_largest():
    assert value("top_1") == value("accuracy")
    assert value("top_2") == pytest.approx(5 / 6)
    with pytest.raises(ValueError, match="more than 3 classes"):
        value("top_3")


def test_r2_follows_its_formula():
    y, outputs = np.array([1.0, 2.0, 4.0]), np.array([[1.5], [2.0], [3.0]])
    assert value("r2", y, outputs) == pytest.approx(1 - (0.25 + 0 + 1) / ((y - y.mean()) ** 2).sum())


def test_several_classes_at_once_are_not_scored_as_one():
    several = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0]])
    with pytest.raises(ValueError, match="several classes or none"):
        value("accuracy", several, SCORES[:3])
    soft = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])  # smoothed labels are of one
    assert value("accuracy", soft, SCORES[:2]) == 0.5


def test_of_several_steps_classes_are_counted_one_by_one():
    generator = np.random.default_rng(0)
    y, outputs = generator.integers(0, 3, (20, 5)), generator.random((20, 5, 3))
    assert value("balanced_accuracy", y, outputs) == pytest.approx(
        sk.balanced_accuracy_score(y.ravel(), outputs.argmax(-1).ravel())
    )


def test_class_by_class():
    found = by_class(IDS, SCORES)
    assert found["classes"] == [0, 1, 2]
    assert found["confusion"] == [[2, 0, 0], [0, 1, 0], [1, 1, 1]]
    assert found["recall"] == pytest.approx([1, 1, 1 / 3])
    assert found["precision"] == pytest.approx([2 / 3, 1 / 2, 1])
    assert found["support"] == [2, 1, 3]


# Metrics of one's own


def cost(y, outputs):
    return np.abs(y - outputs.argmax(1)).sum()


cost.higher_is_better = False


def test_a_function_is_a_metric():
    own = find(cost)
    assert (own.name, own.higher_is_better) == ("cost", False)
    assert own.score(IDS, SCORES) == 3
    assert find(own) is own


def test_a_function_in_a_file_is_one_too(tmp_path):
    (tmp_path / "own.py").write_text("def half(y, outputs): return 0.5\nnumber = 3\ndef one(y): return 1")
    assert find("own.py:half", tmp_path).score(IDS, SCORES) == 0.5
    with pytest.raises(InputError, match="function of targets and outputs"):
        find("own.py:number", tmp_path)
    with pytest.raises(InputError, match="called with targets and outputs"):
        find("own.py:one", tmp_path)
    with pytest.raises(InputError, match="has no 'third'"):
        find("own.py:third", tmp_path)


@pytest.mark.parametrize(
    ("asked", "sentence"), [("acuracy", "Did you mean 'accuracy'"), ("top_0", "no metric 'top_0'"), (3, "no metric 3")]
)
def test_what_is_no_metric_is_refused(asked, sentence):
    with pytest.raises(InputError, match=sentence):
        find(asked)


# Several outputs


def test_a_mapping_gives_each_output_its_own():
    found = find_all({"digit": ["accuracy", "f1"], "age": "mae"})
    assert [(m.name, m.output) for m in found] == [
        ("digit_accuracy", "digit"),
        ("digit_f1", "digit"),
        ("age_mae", "age"),
    ]


def test_a_metric_of_an_output_looks_at_it_alone():
    split = Split(np.zeros((6, 1)), {"digit": IDS, "age": np.arange(6.0)})
    outputs = {"age": np.arange(6.0)[:, None] + 1, "digit": SCORES}
    assert score_split(METRICS["mae"].of("age"), split, outputs) == 1
    assert score_split(METRICS["accuracy"].of("digit"), split, outputs) == pytest.approx(4 / 6)
    with pytest.raises(InputError, match="'size', and the model's outputs are age, digit"):
        score_split(Metric("m", lambda y, o: 0.0).of("size"), split, outputs)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("accuracy", ("", "accuracy")),
        ("digit_accuracy", ("digit", "accuracy")),
        ("left_balanced_accuracy", ("left", "balanced_accuracy")),
        ("on_the_left_f1_macro", ("on_the_left", "f1_macro")),
        ("digit_top_5", ("digit", "top_5")),
        ("digit_top_0", ("", None)),
        ("of_my_own", ("", None)),
        ("file.py:accuracy", ("", None)),
    ],
)
def test_the_name_of_a_score_says_its_output_and_its_metric(score, expected):
    output, metric = output_and_metric(score)
    assert (output, metric and metric.name) == expected

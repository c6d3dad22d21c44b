"""What changed class between two models, against counts by hand and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from tfopt.metrics import Decision, class_changes

ONE_HOT = np.eye(3)


def test_changes_are_counted_by_what_was_right():
    y = np.array([0, 1, 2, 0, 1])
    before = ONE_HOT[[0, 1, 1, 1, 0]]  # right, right, wrong, wrong, wrong
    after = ONE_HOT[[0, 2, 2, 2, 0]]  # same, broken, mended, wrong in another way, same
    found = class_changes(y, before, after)
    assert {name: found[name] for name in ("values", "same", "broken", "mended")} == {
        "values": 5,
        "same": 2,
        "broken": 1,
        "mended": 1,
    }
    assert found["moves"] == [{"before": 1, "after": 2, "count": 3}]
    assert [sample["row"] for sample in found["samples"]] == [1, 3, 2]
    assert found["samples"][0] == {
        "row": 1,
        "label": [1],
        "before": [1],
        "after": [2],
        "sure_before": 1.0,
        "sure_after": 1.0,
    }


def test_both_confusion_matrices_are_those_of_scikit_learn_over_the_same_classes():
    generator = np.random.default_rng(0)
    y, before, after = generator.integers(0, 7, 300), generator.random((300, 9)), generator.random((300, 9))
    found = class_changes(y, before, after)
    classes = sorted({*y, *before.argmax(1), *after.argmax(1)})
    assert found["classes"] == classes
    for side, scores in (("before", before), ("after", after)):
        expected = confusion_matrix(y, scores.argmax(1), labels=classes)
        assert found[f"confusion_{side}"] == expected.tolist()
    changed = before.argmax(1) != after.argmax(1)
    right = [scores.argmax(1) == y for scores in (before, after)]
    assert found["same"] == 300 - changed.sum()
    assert found["broken"] - found["mended"] == right[0].sum() - right[1].sum()
    assert sum(move["count"] for move in found["moves"]) <= changed.sum()


def test_of_many_changes_the_surest_of_those_that_broke_come_first():
    y = np.zeros(100, int)
    sure = np.linspace(0.51, 1, 100)
    before = np.stack([sure, 1 - sure], axis=1)
    found = class_changes(y, before, before[:, ::-1])
    assert found["broken"] == 100
    assert [sample["row"] for sample in found["samples"]] == list(range(99, 75, -1))
    assert found["samples"][0]["sure_after"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("scores", "decision", "probability"),
    [
        (np.array([[2.0, 1.0, 0.0]]), None, np.exp(2) / (np.exp(2) + np.e + 1)),
        (np.array([[0.7, 0.2, 0.1]]), None, 0.7),
        (np.array([[0.2]]), None, 0.8),
        (np.array([[-1.0]]), Decision(logits=True), 1 / (1 + np.exp(-1))),
    ],
    ids=["logits", "softmax", "sigmoid", "one_logit"],
)
def test_the_probability_is_that_of_the_class_that_was_given(scores, decision, probability):
    other = -scores if decision else np.roll(scores, 1, axis=1) if scores.shape[1] > 1 else 1 - scores
    found = class_changes(np.zeros(1, int), scores, other, decision)
    [sample] = found["samples"]
    assert sample["before"] == [0]
    assert sample["sure_before"] == pytest.approx(probability)
    assert sample["sure_after"] == pytest.approx(probability)


def test_a_decision_for_each_class_is_compared_as_a_whole():
    y = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]])
    before = np.array([[0.9, 0.8, 0.1], [0.6, 0.1, 0.9], [0.1, 0.2, 0.3]])
    after = np.array([[0.9, 0.4, 0.1], [0.2, 0.1, 0.9], [0.2, 0.1, 0.3]])
    found = class_changes(y, before, after, Decision(multilabel=True))
    assert (found["values"], found["same"], found["broken"], found["mended"]) == (3, 1, 1, 1)
    assert found["confusion_before"] == found["moves"] == []
    assert [(s["label"], s["before"], s["after"], s["sure_after"]) for s in found["samples"]] == [
        ([0, 1], [0, 1], [0], None),
        ([2], [0, 2], [2], None),
    ]


def test_a_class_for_each_pixel_is_counted_and_not_listed():
    y = np.zeros((2, 2, 2), int)
    before = np.tile([0.9, 0.1], (2, 2, 2, 1))
    after = before.copy()
    after[0, 0, 0] = [0.1, 0.9]
    found = class_changes(y, before, after)
    assert (found["values"], found["same"], found["broken"]) == (8, 7, 1)
    assert found["samples"] == []


def test_very_many_classes_have_no_matrix():
    scores = np.eye(5)
    found = class_changes(np.arange(5), scores, scores, most_classes=4)
    assert found["classes"] == found["confusion_after"] == []
    assert found["same"] == 5

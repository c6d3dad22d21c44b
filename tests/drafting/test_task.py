"""What an output is for, by its head and its targets."""

import numpy as np
import pytest

from tfopt.drafting.model_facts import OutputFacts
from tfopt.drafting.task import task_of
from tfopt.errors import DataError

LOGITS = {"from_logits": True}
IDS, ONE_HOT = np.array([0, 2, 1, 2]), np.eye(3)[[0, 2, 1, 2]]
SEVERAL, VALUES = np.array([[1, 1, 0], [0, 0, 0]]), np.array([[0.5], [3.0]])


@pytest.mark.parametrize(
    ("shape", "activation", "y", "targets", "loss"),
    [
        ((3,), "softmax", IDS, "ids", "sparse_categorical_crossentropy"),
        ((3,), "softmax", ONE_HOT, "one-hot", "categorical_crossentropy"),
        ((3,), "linear", IDS, "ids", {"sparse_categorical_crossentropy": LOGITS}),
        ((3,), "linear", ONE_HOT, "one-hot", {"categorical_crossentropy": LOGITS}),
        ((3,), "sigmoid", SEVERAL, "multi-hot", "binary_crossentropy"),
        ((3,), "linear", SEVERAL, "multi-hot", {"binary_crossentropy": LOGITS}),
        ((1,), "sigmoid", IDS % 2, "binary", "binary_crossentropy"),
        ((1,), "linear", IDS % 2, "binary", {"binary_crossentropy": LOGITS}),
        ((1,), "linear", VALUES, "values", "mse"),
        ((4, 4, 3), "softmax", np.ones((2, 4, 4), int), "ids", "sparse_categorical_crossentropy"),
        ((3,), "softmax", None, "ids", "sparse_categorical_crossentropy"),
        ((3,), "sigmoid", None, "multi-hot", "binary_crossentropy"),
        ((1,), "sigmoid", None, "binary", "binary_crossentropy"),
        ((1,), "linear", None, "values", "mse"),
        ((3,), "linear", None, "ids", {"sparse_categorical_crossentropy": LOGITS}),
        ((8, 8, 1), "sigmoid", None, "values", "mse"),
    ],
)
def test_the_head_and_the_targets_say_what_the_loss_is(shape, activation, y, targets, loss):
    found = task_of(OutputFacts("out", shape, activation), y)
    assert (found.targets, found.loss) == (targets, loss)
    assert found.guessed == (y is None and activation == "linear")


@pytest.mark.parametrize(
    ("compiled", "y", "loss"),
    [
        ("sparse_categorical_crossentropy", IDS, None),
        ("sparse_categorical_crossentropy", ONE_HOT, "categorical_crossentropy"),
        ("categorical_crossentropy", IDS, "sparse_categorical_crossentropy"),
        ("mse", ONE_HOT, None),
    ],
)
def test_the_loss_of_compile_stays_where_it_takes_the_targets(compiled, y, loss):
    assert task_of(OutputFacts("out", (3,), "softmax", compiled), y).loss == loss


def test_targets_of_another_model_are_one_line(one_line):
    with pytest.raises(DataError) as caught:
        task_of(OutputFacts("out", (3,), "softmax"), np.arange(10))
    assert "which gives (3,)" in one_line(caught)


def test_an_activation_that_is_not_known_is_seen_from_what_comes_out():
    scores = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    assert task_of(OutputFacts("out", (3,), ""), IDS, scores).loss == "sparse_categorical_crossentropy"
    assert task_of(OutputFacts("out", (3,), ""), SEVERAL, scores / 2).loss == "binary_crossentropy"
    assert task_of(OutputFacts("out", (3,), ""), IDS, 9 * scores).loss == {"sparse_categorical_crossentropy": LOGITS}


@pytest.mark.parametrize("y", [np.eye(2)[[0, 1, 1]], np.zeros((3, 2))], ids=["one_hot", "zeros"])
def test_two_targets_for_one_score_are_refused(y):
    with pytest.raises(DataError, match="the targets are neither classes of the output 'out'"):
        task_of(OutputFacts("out", (1,), "sigmoid"), y)


def test_one_target_for_a_score_at_every_step_is_refused():
    with pytest.raises(DataError, match="Received: shape"):
        task_of(OutputFacts("out", (5, 1), "sigmoid"), np.array([0, 1, 1]))

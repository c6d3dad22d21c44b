"""What a run lost, metric by metric, and what its gates said."""

from dataclasses import replace

import pytest

from tests.report.made_up import run
from tfopt.report.baseline import Baseline
from tfopt.report.headline import SameClass, sentence
from tfopt.report.verdict import allowance, most_lost, verdict_of, worse_by


def test_a_run_that_failed_anywhere_failed():
    artifacts = run()
    assert verdict_of(artifacts, "int8") == "within the allowed 5 points of accuracy"
    assert verdict_of(artifacts, "other") == ""
    artifacts["prune"] = replace(artifacts["prune"], failed="too sparse")
    assert verdict_of(artifacts, "int8") == "failed"


@pytest.mark.parametrize(
    ("score", "drop", "words"),
    [
        ("accuracy", 0.01, "1 point of accuracy"),
        ("digit_accuracy", 0.0, "0 points of digit accuracy"),
        ("f1", 0.005, "0.5 points of f1"),
        ("mse", 0.02, "0.02 of mse"),
        ("my_own", 0.5, "0.5 of my own"),
    ],
    ids=["one", "none", "half", "error", "own"],
)
def test_what_is_allowed_has_the_unit_of_its_metric(score, drop, words):
    assert allowance(score, drop) == words


def test_the_score_that_lost_most_is_found_in_either_direction():
    before = {"accuracy": 0.9, "f1": 0.9, "mae": 1.0, "own": 5.0}
    assert most_lost(before, {"accuracy": 0.89, "f1": 0.91, "mae": 1.05, "own": 0.0}, tuple(before)) == "mae"
    assert most_lost(before, {"accuracy": 0.91, "f1": 0.9, "mae": 0.9}, tuple(before)) == ""
    assert worse_by("mae", 1.0, float("nan")) == 0


def test_a_loss_in_another_output_is_in_the_sentence_and_its_own_share_of_samples_is_not():
    base = Baseline("train", {"digit_accuracy": 0.8867, "speaker_accuracy": 0.85})
    after = {"digit_accuracy": 0.89, "speaker_accuracy": 0.8467}
    text = sentence(base, after, tuple(after), SameClass(0.98667, outputs=2), "within the allowed 2 points")
    assert text == (
        "Within the allowed 2 points: 0.33 points more accurate in digit, 0.33 points less accurate in speaker than "
        "the model you started from; same class in both outputs on 98.7% of the test samples."
    )
    better = {"digit_accuracy": 0.85, "speaker_accuracy": 0.86}
    assert "speaker" not in sentence(base, better, tuple(better))

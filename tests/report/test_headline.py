"""The sentence at the top of a report: each figure only where it is known, and honest in both directions."""

import math

import pytest

from tfopt.report.baseline import Baseline, change
from tfopt.report.headline import SameClass, score_clause, sentence

START = Baseline("train", {"accuracy": 0.9806, "mae": 0.5}, 607_120, 565_849, 15.9e-6)
AFTER = {
    "accuracy": 0.9778,
    "raw_bytes": 157_936.0,
    "gzip_bytes": 52_231.0,
    "latency_median_seconds": 9.4e-6,
    "agreement": 0.9939,
}


def said(scores=("accuracy",), baseline=START, stage="", **figures):
    known = {name: value for name, value in (AFTER | figures).items() if value is not None}
    same_class = SameClass(known.pop("agreement"), stage) if "agreement" in known else None
    return sentence(baseline, known, scores, same_class)


def test_everything_that_is_known_is_said():
    assert said() == (
        "3.8x smaller, 10.8x after gzip, 1.7x faster, 0.28 points less accurate than the model you started from; "
        "same class on 99.4% of the test samples."
    )


def test_what_is_worse_is_said_to_be_worse():
    worse = said(raw_bytes=1_274_952.0, gzip_bytes=1_131_698.0, latency_median_seconds=19.1e-6, accuracy=0.99)
    assert worse.startswith("2.1x larger, 2.0x after gzip, 1.2x slower, 0.94 points more accurate than")


def test_what_is_smaller_and_larger_after_gzip_says_both_words():
    assert said(gzip_bytes=600_000.0).startswith("3.8x smaller, 1.06x larger after gzip,")


def test_what_is_equal_is_said_to_be_equal():
    assert said(accuracy=0.98061).startswith(
        "3.8x smaller, 10.8x after gzip, 1.7x faster than the model you started from, with equal accuracy;"
    )
    same = {"raw_bytes": 607_121.0, "gzip_bytes": 565_800.0, "latency_median_seconds": 15.9e-6, "accuracy": 0.9806}
    assert said(**same, agreement=None) == (
        "Equal in size and size after gzip and speed and accuracy to the model you started from."
    )


@pytest.mark.parametrize(
    ("left_out", "word"),
    [("raw_bytes", "smaller,"), ("gzip_bytes", "gzip"), ("latency_median_seconds", "faster"), ("accuracy", "accurate")],
)
def test_a_figure_that_was_not_taken_is_not_said(left_out, word):
    text = said(**{left_out: None})
    assert word not in text or left_out == "raw_bytes"
    assert "than the model you started from; same class" in text


def test_a_figure_that_the_start_does_not_have_is_not_said():
    bare = Baseline("train", {"accuracy": 0.9806})
    assert said(baseline=bare).startswith("0.28 points less accurate than the model you started from;")
    assert said(baseline=None) == "Same class on 99.4% of the test samples."
    assert said(baseline=None, agreement=None) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_a_figure_that_is_no_number_is_not_said(value):
    text = said(raw_bytes=value, latency_median_seconds=value, accuracy=math.nan)
    assert text == "10.8x smaller after gzip than the model you started from; same class on 99.4% of the test samples."


def test_the_model_that_a_class_is_the_same_as_is_named_where_it_is_not_the_start():
    text = said(stage="prune", agreement=1.0)
    assert text.endswith(
        "than the model you started from; same class as the Keras model of prune on 100% of the test samples."
    )


def test_all_samples_are_only_all_of_them():
    assert said(agreement=1.0).endswith("same class on 100% of the test samples.")
    assert said(agreement=0.99999).endswith("same class on 99.99% of the test samples.")


@pytest.mark.parametrize(
    ("metric", "before", "after", "expected"),
    [
        ("accuracy", 0.9, 0.95, ("than", "5.00 points more accurate")),
        ("digit_accuracy", 0.9767, 0.9733, ("than", "0.34 points less accurate in digit")),
        ("top_5", 0.9, 0.8, ("than", "10.00 points worse in top 5")),
        ("balanced_accuracy", 0.9, 0.85, ("than", "5.00 points worse in balanced accuracy")),
        ("left_balanced_accuracy", 0.9, 0.85, ("than", "5.00 points worse in balanced accuracy of left")),
        ("f1_macro", 0.9, 0.85, ("than", "5.00 points worse in f1 macro")),
        ("left_precision", 0.85, 0.9, ("than", "5.00 points better in precision of left")),
        ("mae", 0.5, 0.55, ("than", "worse in mae (0.55 instead of 0.5)")),
        ("size_mae", 0.5, 0.4, ("than", "better in mae of size (0.4 instead of 0.5)")),
        ("r2", 0.9, 0.8, ("than", "worse in r2 (0.8 instead of 0.9)")),
        ("roc_auc", 0.8, 0.9, ("than", "10.00 points better in roc auc")),
        ("r2", 0.9, 0.9, ("equal", "r2")),
        ("ones_own", 1.0, 2.0, ("other", "ones own 2 instead of 1")),
    ],
)
def test_a_metric_is_told_in_its_own_words_and_direction(metric, before, after, expected):
    assert score_clause(metric, before, after) == expected


@pytest.mark.parametrize(
    "metric", ["accuracy", "left_accuracy", "balanced_accuracy", "f1_macro", "precision", "roc_auc", "top_3"]
)
def test_the_sentence_has_the_points_of_the_table(metric):
    _, said = score_clause(metric, 0.9, 0.8766)
    assert said.startswith(change(metric, -0.0234).removeprefix("-"))


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (1.30e-6, "latency not told apart, as it varies by 0.06 µs"),
        (1.36e-6, "latency not told apart, as it varies by 0.06 µs"),
        (1.0e-6, "1.3x faster"),
    ],
    ids=["faster within", "slower within", "faster"],
)
def test_a_latency_within_the_spread_of_the_other_is_no_difference(after, words):
    start = Baseline("train", {"accuracy": 0.9806}, 607_120, 565_849, 1.33e-6, 1.39e-6)
    assert words in said(baseline=start, latency_median_seconds=after, latency_p90_seconds=after + 1e-8)

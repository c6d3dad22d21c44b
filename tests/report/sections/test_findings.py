"""What sections say of files: the lowest error, what all else is, metrics without a gate, the reference of a line."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.html_page import check
from tests.report.made_up import run
from tfopt.metrics.outputs import MOST_DB
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.quantization import AccuracyStep, AccuracySteps
from tfopt.recipe.details.weights import (
    LayerError,
    LayerWeights,
    QuantizationErrors,
    WeightFigures,
    WeightsByLayer,
)
from tfopt.report.markdown import lines
from tfopt.report.page import Page, Part
from tfopt.report.section import SECTIONS

FILE = Artifact("int8", "quantize", Path("run/int8"), "model.tflite", "tflite", "k", ("train",))


def told(name, *details, artifact=FILE):
    """The Markdown of a section and the text of its page."""
    blocks = SECTIONS[name].blocks({artifact.name: replace(artifact, details=list(details))})
    return "\n".join(lines(blocks)), check(Page("run", parts=[Part(name, "title", blocks)]).html())


def errors(*rows):
    return QuantizationErrors(tuple(LayerError(layer, "CONV_2D", "int8", a, b) for layer, a, b in rows), 8)


def test_the_lowest_error_of_outputs_and_of_weights_is_named_and_none_at_all_is_exact():
    found = errors(("one", 44.5, 19.25), ("two", 30.25, MOST_DB), ("three", 41.0, None))
    text, root = told("quantization_errors", found)
    assert "The lowest: 30.2 dB after two, and 19.2 dB of the weights of one." in text
    assert "on 8 calibration samples" in text
    assert "| two | CONV_2D | int8 | 30.2 dB | exact |" in text
    assert "200" not in text
    [chart] = root.find("svg", class_="chart")
    assert "two, weights: 60" in chart.text
    assert "flag" in str(chart.find("text") + chart.find("rect"))


def weights(**more):
    rows = [("large", 800, 10), ("small", 700, 400)]
    figures = [LayerWeights(n, "Dense", WeightFigures("int8", b, b, b, 0, 9, s)) for n, b, s in rows]
    return WeightsByLayer(tuple(figures), 3000, **more)


def test_the_largest_layer_has_the_bytes_that_the_table_has():
    text, _ = told("weights", weights())
    assert "`large` is the largest layer with 800 B, 53% of the bytes of all weights." in text
    assert "| large | Dense | int8 | 800 | 800 | 10 |" in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "and 1,090 B of all else."),
        (
            {"constant_bytes": 90, "ops": 12},
            "all else: 90 B of other constants, such as shapes and tables, and 1,000",
        ),
    ],
    ids=["older", "known"],
)
def test_what_all_else_is_is_said_where_it_is_much(more, words):
    assert words in told("weights", weights(**more))[0]


def test_all_else_is_not_taken_apart_where_it_is_little():
    found = replace(weights(constant_bytes=1, ops=2), file_bytes=1920)
    assert "and 10 B of all else." in told("weights", found)[0]


@pytest.mark.parametrize(
    ("metric", "drop", "words"),
    [("accuracy", 0.01, "-1.00 points"), ("mse", 0.25, "+0.25"), ("accuracy", 0.0, "+0.00 points"), ("", 0.0, "+0")],
    ids=["accuracy", "error", "equal", "older"],
)
def test_the_steps_of_an_accuracy_search_say_their_metric_and_split_and_change(metric, drop, words):
    steps = [AccuracyStep("as asked", size, 0.99, drop, True, metric, size / 4000) for size in (9000, 5000)]
    text, root = told("steps", AccuracySteps(tuple(steps)))
    assert f"| {metric or 'metric'} on the validation split |" in text
    assert f"| as asked | 9,000 B | 0.9900 | {words} | 2.2 | kept |" in text
    ticks = [tick.text for tick in root.find("svg", class_="chart")[0].find("text")]
    if metric == "accuracy":
        assert not [tick for tick in ticks if tick.replace(".", "").isdigit() and 1 < float(tick) < 2]


def test_a_metric_that_no_gate_looks_at_is_named_with_what_became_of_it():
    artifacts = run()
    verify = artifacts["verify"]
    files = {"int8": {**verify.files["int8"], "f1": 0.9, "mae": 0.5}}
    artifacts["verify"] = replace(verify, files=files, scores=("accuracy", "f1", "mae"))
    artifacts["train"] = replace(artifacts["train"], metrics={"accuracy": 0.93, "f1": 0.95, "mae": 0.25})
    text = "\n".join(lines(SECTIONS["gates"].blocks(artifacts)))
    assert "No max_drop is about `f1`, `mae`; they are only reported." in text
    assert "- int8: f1 -5.00 points, mae +0.25" in text
    assert "No max_drop" not in "\n".join(lines(SECTIONS["gates"].blocks(run())))


def test_a_comparison_names_the_model_it_is_with_and_no_other():
    text = "\n".join(lines(SECTIONS["comparisons"].blocks(run())))
    assert "- int8 against prune: same class for 98.5% of the test samples" in text
    assert "drop" not in text


def test_a_file_that_a_training_made_is_compared_with_the_model_of_that_training(tmp_path):
    own = replace(FILE, folder=tmp_path / "qat", name="qat", files={"qat": {"snr_db": 30.0}})
    own.folder.mkdir()
    (own.folder / "trained.keras").write_bytes(b"")
    assert "qat against the model trained in qat: SNR 30.0 dB" in told("comparisons", artifact=own)[0]

"""What the report says of a quantized file."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.quantization import convert_with_notes
from tfopt.quantization.sensitivity import Group, Sensitivity
from tfopt.recipe.export import Export
from tfopt.report import quantization as words
from tfopt.report.quantization import figure_lines


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    biased = {"bias_initializer": "normal"}
    built = keras.Sequential(
        [
            layers.Input((12,)),
            layers.Dense(16, activation="relu", name="wide", **biased),
            layers.Dense(3, name="head", **biased),
        ]
    )
    kernel = built.get_layer("wide").kernel
    kernel.assign(np.where(np.arange(16) % 4 == 0, kernel.numpy(), 0))
    built.compile("sgd", "mse")
    return built


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)


def test_the_cells_of_an_audit_are_the_bytes_and_zeros_of_the_layer(model, x):
    converted = convert_with_notes(model, Export(mode="int8"), x)
    wide, head = (words.audit_cells(row) for row in converted.audit.rows)
    assert wide[:3] == ("wide", "FULLY_CONNECTED", "int8")
    assert wide[3:5] == (f"{12 * 16 + 4 * 16:,}", f"{4 * (12 * 16 + 16):,}")  # int8 kernel, int32 bias
    assert float(wide[6].rstrip("%")) == 75.0
    assert float(wide[5].rstrip("%")) >= 75.0
    assert head[0] == "head"
    assert 2 <= int(wide[7]) <= 49
    assert words.audit_cells(replace(converted.audit.rows[0], values=None))[7] == "-"


def test_the_totals_name_what_is_float(model, x):
    kept = convert_with_notes(model, Export(mode="int8", rules=[{"layers": "head", "to": "float"}]), x)
    assert "1 ops in float" in words.totals(kept)
    assert "no op in float" in words.totals(convert_with_notes(model, Export(mode="int8"), x))


def test_the_report_of_a_run_has_steps_bytes_and_notes(model, x, tmp_path):
    y = np.zeros((60, 3), np.float32)
    recipe = tfopt.Recipe(
        name="r",
        model=model,
        data=((x, y), (x, y)),
        loss="mse",
        stages=[tfopt.Quantize(max_drop=10.0, goal="smallest")],
    )
    result = tfopt.run(recipe, tmp_path)
    text = (result.folder / "report.md").read_text()
    assert "## quantize: what each step bought" in text
    assert "| as asked |" in text
    assert "layers in int4" in text
    assert "## quantize: weights by layer" in text
    assert "| wide | FULLY_CONNECTED | float32 → int4 |" in text
    record = json.loads((result.folder / "report.json").read_text())
    steps = record["artifacts"][-1]["details"]["steps"]
    assert [step["met"] for step in steps] == [True] * len(steps)
    assert steps[-1]["bytes"] < steps[0]["bytes"]


def test_a_note_of_a_route_that_was_taken_is_in_the_report(x, tmp_path):
    recurrent = keras.Sequential([layers.Input((2, 6)), layers.LSTM(5), layers.Dense(2)])
    recurrent.compile("sgd", "mse")
    series = x.reshape(60, 2, 6)
    y = np.zeros((60, 2), np.float32)
    result = tfopt.run(
        tfopt.Recipe(
            name="r", model=recurrent, data=((series, y), (series, y)), loss="mse", stages=[tfopt.Quantize(samples=50)]
        ),
        tmp_path,
    )
    assert "## quantize: how it was made" in (result.folder / "report.md").read_text()
    assert "loops were unrolled" in (result.folder / "report.md").read_text()


def test_layers_that_spoil_the_model_alone_are_said_to_be_kept_out():
    def line(name, precision, error):
        return Sensitivity(Group(name, "FULLY_CONNECTED", (0,), 4), precision, error, 0, "minmax")

    fine = [line("body", "int8", 0.01), line("body", "int4", 0.09)]
    assert words.sensitivity_remarks(fine) == []
    spoiled = [line("head", "int4", 0.2), line("log", "int8", float("inf")), line("stem", "int8", 0.11)]
    spoiled += [line("stem", "int4", 0.5)]  # which int8 would not save
    assert words.sensitivity_remarks([*fine, *spoiled]) == [
        "int8 of one of these alone leaves an SNR below 10 dB; keep them in float: log, stem",
        "int4 of one of these alone leaves an SNR below 10 dB; keep them in int8: head",
    ]


def test_what_was_measured_of_a_conversion_is_in_words_with_units():
    figures = {"calibration_snr_db": 51.4667, "calibration_max_error": 0.00123456, "arena_bytes": 12345, "own": 0.5}
    assert figure_lines(figures) == [
        "SNR of the outputs on calibration samples, against the float32 file: 51.5 dB",
        "largest error of an output on calibration samples: 0.001235",
        "tensor arena: 12,345 B",
        "own: 0.5",
    ]

"""Results as text, as HTML for notebooks and as pandas."""

import sys
import types
from html.parser import HTMLParser

import keras
import numpy as np
import pytest

import tfopt
from tfopt.errors import TfoptError
from tfopt.pipeline.result import Result
from tfopt.quantization.conversion import convert_with_notes
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.export import Export
from tfopt.tabular import LINES, ROWS, Tabular


class Made(Tabular):
    def __init__(self, rows):
        self._rows = rows

    title = "a <title> & more"

    def records(self):
        return self._rows


class Cells(HTMLParser):
    """The text of each cell, by the tag it is in."""

    def __init__(self, text):
        super().__init__()
        self.found, self._tag, self.tags = {"td": [], "th": []}, None, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.tags.append(tag)

    def handle_endtag(self, tag):
        self._tag = None

    def handle_data(self, data):
        if self._tag in self.found:
            self.found[self._tag].append(data)


ROWS_OF_TWO = [
    {"layer": "<script>alert(1)</script>", "bytes": 12345, "share": 0.25},
    {"layer": "b", "bytes": 7, "value": None},
]


def test_the_text_is_the_title_and_a_line_for_each_row():
    assert repr(Made(ROWS_OF_TWO)).splitlines() == [
        "Made: a <title> & more",
        "  <script>alert(1)</script>  bytes 12,345, share 0.25",
        "  b  bytes 7",
    ]


def test_the_text_is_short_whatever_the_table():
    lines = repr(Made([{"layer": str(number)} for number in range(1000)])).splitlines()
    assert len(lines) == LINES + 2
    assert lines[-1].startswith(f"  ... {1000 - LINES} more rows")


def test_the_html_is_a_table_in_which_nothing_is_taken_for_markup():
    cells = Cells(Made(ROWS_OF_TWO)._repr_html_())
    assert cells.found["th"] == ["layer", "bytes", "share", "value"]
    assert cells.found["td"] == ["<script>alert(1)</script>", "12,345", "0.25", "b", "7"]
    assert "script" not in cells.tags


def test_the_html_of_a_long_table_says_what_it_leaves_out():
    text = Made([{"layer": str(number)} for number in range(ROWS + 5)])._repr_html_()
    assert text.count("<tr>") == ROWS + 1
    assert "5 more rows" in text


def test_without_pandas_its_table_is_refused_in_one_line(monkeypatch, one_line):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(TfoptError) as caught:
        Made(ROWS_OF_TWO).to_pandas()
    assert "pip install pandas" in one_line(caught)


def test_pandas_gets_all_rows_and_columns(monkeypatch):
    stand_in = types.ModuleType("pandas")
    stand_in.DataFrame = lambda rows, columns: (rows, columns)
    monkeypatch.setitem(sys.modules, "pandas", stand_in)
    assert Made(ROWS_OF_TWO).to_pandas() == (ROWS_OF_TWO, ["layer", "bytes", "share", "value"])


def test_pandas_itself_takes_them():
    pytest.importorskip("pandas")
    frame = Made(ROWS_OF_TWO).to_pandas()
    assert frame["bytes"].tolist() == [12345, 7]


@pytest.fixture(scope="module")
def model():
    parts = [keras.layers.Input((4,)), keras.layers.Dense(8, name="first"), keras.layers.Dense(2, name="second")]
    return keras.Sequential(parts)


def results(model, tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    trained = Artifact(
        "train", "train", tmp_path / "r" / "train", "model.keras", "keras", "k", (), {"accuracy": 0.5}, ("accuracy",)
    )
    return {
        "Result": Result({"train": trained}, (), tmp_path / "r"),
        "ModelSummary": tfopt.inspect(model),
        "Conversion": convert_with_notes(model, Export(mode="dynamic"), x),
        "QuantizationSensitivity": tfopt.quantization.rank_layers(model, x, precisions=("int8",)),
        "PruningSensitivity": tfopt.sparsity.rank_layers(model, (x, (x[:, :2] > 0).argmax(1)), target=0.5),
    }


def test_every_result_that_is_a_table_names_its_rows(model, tmp_path):
    for name, result in results(model, tmp_path).items():
        lines = repr(result).splitlines()
        assert lines[0].startswith(f"{name}: "), name
        assert 2 <= len(lines) <= LINES + 2, name
        cells = Cells(result._repr_html_())
        assert len(cells.tags) - len(cells.found["th"]) > len(result.records()), name
        assert ("first" in repr(result)) == (name != "Result"), name


def test_the_text_of_a_conversion_has_both_sizes(model, tmp_path):
    made = results(model, tmp_path)["Conversion"]
    assert made.float_bytes == len(tfopt.convert(model, "float32"))
    assert f"{len(made.content):,} B, {made.float_bytes:,} B in float32" in repr(made)


def test_a_run_is_shown_with_the_heads_and_units_of_its_report(tmp_path):
    metrics = {"accuracy": 0.5, "raw_bytes": 12_345.0, "latency_median_seconds": 4.7e-7, "latency_p90_seconds": 4.9e-7}
    made = Artifact("int8", "quantize", tmp_path, "m.tflite", "tflite", "k", (), metrics, ("accuracy",))
    result = Result({"int8": made}, (), tmp_path)
    assert repr(result).splitlines()[1] == (
        "  int8  accuracy 0.5000, raw 12,345 B, latency (median / p90) 0.47 \N{MICRO SIGN}s / 0.49 \N{MICRO SIGN}s"
    )
    cells = Cells(result._repr_html_())
    assert cells.found["th"] == ["stage", "accuracy", "raw", "latency (median / p90)"]
    assert result.records()[0]["latency_median_seconds"] == 4.7e-7

"""The curves of pruned layers in words and pictures, and the stage that comes of them."""

import json

import pytest
from ruamel.yaml import YAML

import tfopt
from tests.report.html_page import check
from tfopt.report import pruning as words
from tfopt.sparsity.sensitivity import Curve

GRID = (0.5, 0.9)
CURVES = [
    Curve("stem", ("kernel",), 1200, GRID, (0.95, 0.8), 0.96125, True),
    Curve("nest/lstm_cell", ("kernel", "recurrent_kernel"), 34, GRID, (0.96, 0.9), 0.96125, False),
]
SUGGESTION = {"stem": 0.25, "nest/lstm_cell": 0.70001}


def test_a_row_has_the_metric_at_every_sparsity_below_its_header():
    headers = words.curve_headers(CURVES)
    cells = dict(zip(headers, words.curve_cells(CURVES[0], 0.25), strict=True))
    assert cells == {
        "layer": "stem",
        "weights": "1,200",
        "baseline": "0.9613",
        "0.5": "0.9500",
        "0.9": "0.8000",
        "suggested": "0.2500",
    }


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [(0.0, 0.0), (0.9, 0.9), (0.98, 0.98), (0.70001, 0.7001), (0.1 + 0.2, 0.3), (1 / 3, 0.3334)],
)
def test_a_suggestion_is_rounded_up_to_four_places(sparsity, expected):
    assert words.rounded(sparsity) == expected


def test_the_record_goes_through_json_and_keeps_every_number():
    record = words.curves_record(CURVES, SUGGESTION, "accuracy", 0.3, [("depth", "why")])
    assert json.loads(json.dumps(record)) == record
    assert record["baseline"] == 0.96125
    assert record["layers"][1] == {
        "layer": "nest/lstm_cell",
        "kernels": ["kernel", "recurrent_kernel"],
        "weights": 34,
        "sparsities": [0.5, 0.9],
        "scores": [0.96, 0.9],
        "cached": False,
        "suggested": 0.7001,
    }
    assert record["skipped"] == [{"layer": "depth", "reason": "why"}]


def stage(*arguments):
    """The stage as a recipe reads it."""
    text = "\n".join(["stages:", *words.stage_lines(*arguments)])
    [found] = YAML(typ="safe").load(text)["stages"]
    return tfopt.Prune(**found["prune"])


def test_the_lines_are_a_stage_that_prune_takes():
    made = stage(SUGGESTION, 0.3)
    assert made.sparsity == 0.3
    assert [(*rule.layers, rule.sparsity) for rule in made.rules] == [("stem", 0.25), ("nest/lstm_cell", 0.7001)]
    assert (made.only, made.skip) == ((), ())


def test_patterns_and_names_that_yaml_would_read_as_something_else_come_back_as_they_were():
    names = ["true", "null", "1", "1e3", "a: b", "- x", "#", "no", "Dense_[ab]", "*"]
    made = stage(dict.fromkeys(names, 0.5), 0.5, ("*conv*", "a"), ("[!b]*",))
    assert [rule.layers for rule in made.rules] == [(name,) for name in names]
    assert made.only == ("*conv*", "a")
    assert made.skip == ("[!b]*",)


def test_the_page_has_a_line_for_each_layer_the_baseline_and_a_mark_on_each_line():
    root = check(words.curves_page(CURVES, {"stem": 0.25, "nest/lstm_cell": 0.7}, "m.keras", "accuracy", 0.3).html())
    [chart] = root.find("svg", class_="chart")
    stem, cell = chart.find("polyline")
    assert (stem.text, cell.text) == ("stem", "nest/lstm_cell")
    marks = chart.find("polygon")
    assert [mark.text for mark in marks] == ["stem: 0.2500 is suggested", "nest/lstm_cell: 0.7000 is suggested"]
    for line, mark, share in ((stem, marks[0], 0.5), (cell, marks[1], 0.5)):  # in the middle of a straight piece
        points = [tuple(map(float, point.split(","))) for point in line.attributes["points"].split()]
        before, after = points[:2] if mark is marks[0] else points[1:]
        top = tuple(map(float, mark.attributes["points"].split()[0].split(",")))
        middle = [(a + b) * share for a, b in zip(before, after, strict=True)]
        assert (top[0], top[1] + 7) == pytest.approx(middle, abs=0.2)
    assert "nothing pruned" in chart.text
    assert len(root.find("tbody")[0].find("tr")) == 2
    assert "- prune:" in root.find("pre")[0].text

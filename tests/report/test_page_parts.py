"""The parts of a run's page: the final file first, what repeats it folded, and headings that say no title again."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.detail_examples import BY_TYPE
from tests.report.html_page import check
from tfopt.recipe.artifact import Artifact, Skipped
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.details.timing import Latencies
from tfopt.recipe.details.weights import QuantizationErrors, WeightsByLayer
from tfopt.report.blocks import Remark, Table
from tfopt.report.page import Page, Part
from tfopt.report.page_parts import parts


def artifact(name, *kinds, **more):
    details = [BY_TYPE[kind] for kind in kinds]
    return Artifact(name, "quantize", Path("run") / name, "model.tflite", "tflite", "k", details=details, **more)


def section(anchor, artifacts, final=None):
    made = parts({one.name: one for one in artifacts}, final)
    [found] = check(Page("p", parts=made).html()).find("section", id=anchor)
    return found


def test_the_final_file_is_open_and_first_and_those_before_it_are_folded():
    made = [artifact("float32", QuantizationErrors), artifact("int8", QuantizationErrors)]
    found = section("quantization_errors", made, "int8")
    assert [heading.text for heading in found.find("h3")] == ["int8"]
    [folded] = found.find("details")
    assert folded.find("summary")[0].text == "float32: quantization error by layer"
    assert folded.find("table")
    assert [child.tag for child in found.children if not isinstance(child, str)][-1] == "details"


def test_where_the_final_file_has_nothing_to_say_nothing_is_folded():
    made = [artifact("a", QuantizationErrors), artifact("b", QuantizationErrors), artifact("int8")]
    found = section("quantization_errors", made, "int8")
    assert [heading.text for heading in found.find("h3")] == ["a", "b"]


def test_a_heading_of_a_stage_that_made_no_model_is_left_out_where_it_is_the_only_one():
    measured = artifact("benchmark", Latencies, files={"int8": {"model_memory_bytes": 1e6}})
    assert section("latency", [measured]).find("h3") == []
    both = [measured, replace(measured, name="again")]
    assert [heading.text for heading in section("latency", both).find("h3")] == ["benchmark", "again"]


def test_a_section_is_within_the_one_that_it_belongs_to_and_alone_without_it():
    notes = artifact("int8", ConversionNotes)
    alone = parts({"int8": notes}, "int8")
    assert "notes" in [part.anchor for part in alone]
    skipping = replace(notes, skipped=(Skipped("dense", "no kernel"),))
    found = parts({"int8": skipping}, "int8")
    assert "notes" not in [part.anchor for part in found]
    [host] = [part for part in found if part.anchor == "skipped"]
    assert "how it was made" in " ".join(getattr(block, "text", "") for block in host.blocks)


def test_tables_are_called_by_the_heading_above_them_and_headings_have_anchors_of_their_own():
    made = [artifact("a", WeightsByLayer), artifact("b", WeightsByLayer)]
    found = section("weights", made)
    assert {caption.text for caption in found.find("caption")} == {"a: weights by layer", "b: weights by layer"}
    anchors = [heading.attributes["id"] for heading in found.find("h3")]
    assert len(set(anchors)) == len(anchors) > 1
    assert all(": " in summary.text for summary in found.find("summary"))


def drawn(table):
    [part] = check(Page("p", parts=[Part("a", "A", [table])]).html()).find("section")
    return part


@pytest.mark.parametrize(
    ("rows", "columns", "reached"), [(3, 4, False), (3, 40, True), (30, 4, True)], ids=["small", "wide", "long"]
)
def test_a_table_is_reached_by_the_keyboard_where_it_may_scroll(rows, columns, reached):
    part = drawn(Table([f"column {number}" for number in range(columns)], [["1"] * columns] * rows))
    assert bool(part.find("div", role="region")) == reached
    assert part.find("caption")


def test_a_column_without_a_head_has_no_empty_header_and_a_remark_stands_below_its_figure():
    part = drawn(Table(("a", ""), [(("0.9", Remark("-1 point")), "b")]))
    assert [head.text for head in part.find("thead")[0].find("th")] == ["a"]
    assert part.find("span", class_="remark")[0].text == "-1 point"
    assert Table(("a",), [(("0.9", Remark("-1 point")),)]).width < Table(("a",), [("0.9 (-1 point)",)]).width


def test_a_file_of_which_nothing_was_left_says_so():
    weights = BY_TYPE[WeightsByLayer]
    rows = [replace(row, after=replace(row.after, precision="int8")) for row in weights.rows]
    whole = replace(artifact("int8"), details=[replace(weights, rows=rows, others=0)])
    assert "Nothing: every layer with weights is in int8." in section("skipped", [whole]).text
    mixed = [*rows, replace(rows[0], after=replace(rows[0].after, precision="float32"))]
    partly = replace(whole, details=[replace(weights, rows=mixed, others=0)])
    assert "skipped" not in [part.anchor for part in parts({"int8": partly}, "int8")]

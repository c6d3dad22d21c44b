"""What changed class: the last file first, a card for each sample, blank inputs named."""

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.detail_examples import BY_TYPE
from tests.report.html_page import check
from tfopt.data.preview import Preview, png
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.verification import ClassChanges, ShownSample
from tfopt.report.markdown import lines
from tfopt.report.page import Page, Part
from tfopt.report.sections import class_changes


def picture(pixels):
    return Preview("image", base64.b64encode(png(pixels)).decode())


@pytest.fixture
def blocks():
    """The blocks of two files, of which the sample that changed has two inputs, one of them blank."""
    given = BY_TYPE[ClassChanges]
    [(_, outputs)] = given.files.items()
    inputs = {"image": picture(np.zeros((4, 4, 1), np.uint8)), "sound": picture(np.full((4, 4, 1), 9, np.uint8))}
    rows = {sample.row for output in outputs.values() for sample in output.samples}
    shown = [ShownSample(row, inputs) for row in rows]
    changes = replace(given, files={"float32": outputs, "int8": outputs}, shown=shown)
    artifact = Artifact("verify", "verify", Path("run/verify"), "model.tflite", "tflite", "k", details=[changes])
    return class_changes.blocks(artifact)


def test_the_last_file_comes_first_and_those_before_it_are_folded(blocks):
    root = check(Page("p", parts=[Part("a", "What changed class", blocks)]).html())
    [part] = root.find("section")
    assert [heading.text for heading in part.find("h3")] == ["int8: what changed class"]
    assert [one.text for one in part.find("summary")] == ["float32: what changed class"]
    headings = [line for line in lines(blocks) if line.startswith("## ")]
    assert headings == ["## int8: what changed class", "## float32: what changed class"]


def test_a_sample_is_one_card_with_all_its_inputs_and_says_which_is_blank(blocks):
    root = check(Page("p", parts=[Part("a", "A", blocks)]).html())
    cards = root.find("ul", class_="gallery")[0].find("li")
    assert len(cards) == 1
    assert [view.text for view in cards[0].find("div", class_="view")] == ["image (all 0)", "sound"]
    assert "→" in cards[0].find("strong")[0].text


def test_the_samples_stand_above_the_matrices(blocks):
    text = check(Page("p", parts=[Part("a", "A", blocks)]).html()).text
    assert text.index("that changed") < text.index("taken for")

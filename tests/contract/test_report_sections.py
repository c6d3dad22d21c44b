"""What every section of a report keeps to: it says nothing without its detail, and well-formed Markdown with it."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.detail_examples import BY_TYPE
from tfopt.recipe.artifact import Artifact, Skipped
from tfopt.recipe.details.quantization import AccuracySteps, Audit, ConversionNotes, ConversionWarnings
from tfopt.recipe.details.search import SearchOutcome, TuningOutcome
from tfopt.recipe.details.training import ChannelRemoval, SparsityRecords, TrainingHistory
from tfopt.recipe.details.verification import CarriedOver, ClassScores
from tfopt.registry import Registry
from tfopt.report import section as sections
from tfopt.report import summary
from tfopt.report.section import SECTIONS, Section, pages

PLAIN = Artifact("made", "mine", Path("run/made"), "model.tflite", "tflite", "k")


def with_details(*kinds):
    return replace(PLAIN, details=[BY_TYPE[kind] for kind in kinds])


# What each section tells of, and its heading.
CASES = {
    "curves": (with_details(TrainingHistory), "## Trainings"),
    "carried": (with_details(CarriedOver), "## made: carried over from a tf_keras model"),
    "comparisons": (
        replace(PLAIN, files={"int8": {"agreement": 0.99, "drop": 0.01}}),
        "## made: on LiteRT against the Keras models",
    ),
    "classes": (with_details(ClassScores), "## int8: class by class"),
    "warnings": (with_details(ConversionWarnings), "## made: warnings"),
    "notes": (with_details(ConversionNotes), "## made: how it was made"),
    "on_target": (
        replace(PLAIN, metrics={"arena_bytes": 5000, "tflm_max_error": 0.0}),
        "## made: on LiteRT for Microcontrollers",
    ),
    "steps": (with_details(AccuracySteps), "## made: what each step bought"),
    "audit": (with_details(Audit), "## made: bytes by layer"),
    "sparsity": (with_details(SparsityRecords), "## made: sparsity while training"),
    "channels": (with_details(ChannelRemoval), "## made: channels removed"),
    "front": (with_details(SearchOutcome), "## made: the front"),
    "trials": (with_details(TuningOutcome), "## made: trials"),
    "gates": (replace(PLAIN, failed="too bad."), "**FAIL** made: too bad."),
    "skipped": (replace(PLAIN, skipped=(Skipped("last", "no kernel"),)), "## made: left as it was"),
    "versions": (replace(PLAIN, environment={"python": "3.13"}), "## Made with"),
}
PAGES = {"curves": "curves.html", "classes": "confusion.html", "front": "front.html", "trials": "tuning.html"}

each = pytest.mark.parametrize("name", CASES)


def lines_of(section, artifact):
    """Of an artifact and another one like it, which takes two for what compares them."""
    artifacts = {artifact.name: artifact, "again": replace(artifact, name="again")}
    return section.of_run(artifacts) if section.of_run else section.of_artifact(artifact)


def test_the_sections_are_in_the_order_of_the_report_and_each_has_a_case():
    assert list(SECTIONS) == list(CASES)
    assert [section.rank for section in SECTIONS.values()] == sorted(section.rank for section in SECTIONS.values())


@each
def test_a_section_is_about_the_run_or_about_each_artifact(name):
    section = SECTIONS[name]
    assert section.name == name
    assert (section.of_run is None) != (section.of_artifact is None)


@each
def test_a_section_without_its_detail_says_nothing(name):
    if name == "versions":
        pytest.skip("every artifact has an environment")
    assert lines_of(SECTIONS[name], PLAIN) == []


@each
def test_a_section_with_its_detail_is_well_formed_markdown_with_its_heading(name):
    artifact, heading = CASES[name]
    lines = lines_of(SECTIONS[name], artifact)
    assert lines[:2] == ["", heading]
    assert all("\n" not in line for line in lines)
    for at, line in enumerate(lines):
        if line.startswith("#"):
            assert (lines[at - 1], lines[at + 1]) == ("", "")
        if set(line) == {"|", "-", ":"} or set(line) == {"|", "-"}:  # below the headers of a table
            rows = [lines[at - 1], *_until_empty(lines[at + 1 :])]
            assert lines[at - 2] == ""
            assert {row.count("|") for row in rows if row.startswith("|")} == {line.count("|")}


def _until_empty(lines):
    return lines[: lines.index("")] if "" in lines else lines


@each
def test_a_value_of_ones_own_under_the_name_of_a_detail_is_left_alone(name):
    own = replace(PLAIN, details=dict.fromkeys(CASES[name][0].details, "mine"))
    if name != "versions":
        assert lines_of(SECTIONS[name], own) == []


def test_the_pages_have_the_names_that_links_go_to():
    assert {name: page.file for name, page in pages().items()} == PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_html_that_needs_no_network_or_there_is_none(name):
    page, (artifact, _) = SECTIONS[name].page, CASES[name]
    assert page.html("mine", {"made": PLAIN}) is None
    text = page.html("mine", {"made": artifact, "again": replace(artifact, name="again")})
    assert text.lstrip().startswith(("<!doctype html>", "<html>"))
    assert text.rstrip().endswith("</html>")
    assert not re.search(r'<script[^>]+src="http', text)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_written_and_taken_away_with_what_it_shows(name, tmp_path):
    artifact, _ = CASES[name]
    summary.write({"made": artifact, "again": replace(artifact, name="again")}, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.html")) == [PAGES[name]]
    summary.write({"made": PLAIN}, tmp_path)
    assert not list(tmp_path.glob("*.html"))


OWN = """
from tfopt.report.markdown import headed
from tfopt.report.section import Page, Section

SECTION = Section(
    "weather",
    of_artifact=lambda artifact: headed(f"{artifact.name}: the weather", artifact.details.get("weather", "fair")),
    page=Page("weather.html", lambda title, artifacts: f"<html>{title}</html>"),
)
"""


@pytest.fixture
def own_section(tmp_path, monkeypatch):
    """One more file in the folder of sections."""
    from tfopt.report import sections as folder

    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "weather.py").write_text(OWN)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path / "more")])
    monkeypatch.setattr(sections, "SECTIONS", Registry(folder.__name__, Section))
    yield
    sys.modules.pop(f"{folder.__name__}.weather", None)


def test_a_new_section_is_one_new_file(own_section, tmp_path):
    artifacts = {
        "made": replace(CASES["skipped"][0], details={"weather": "rain"}),
        "other": replace(PLAIN, name="other"),
    }
    summary.write(artifacts, tmp_path)
    text = (tmp_path / "report.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## made: the weather", "## made: left as it was", "## other: the weather", "## Made with"]
    assert "\n\nrain\n" in text
    assert (tmp_path / "weather.html").read_text() == f"<html>{tmp_path.name}</html>"

"""What every section of a report keeps to: nothing without its detail, well-formed Markdown and HTML with it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.detail_examples import BY_TYPE
from tests.report.html_page import check
from tfopt.recipe.artifact import Artifact, Skipped
from tfopt.recipe.details.decoding import DecodedKernels
from tfopt.recipe.details.device_files import DeviceFiles, FilesOnTargets
from tfopt.recipe.details.kit import ExportedKits
from tfopt.recipe.details.quantization import AccuracySteps, Audit, ConversionNotes, ConversionWarnings
from tfopt.recipe.details.search import SearchOutcome, TuningOutcome
from tfopt.recipe.details.timing import Latencies
from tfopt.recipe.details.training import ChannelRemoval, SparsityRecords, TrainingHistory
from tfopt.recipe.details.usage import Usage
from tfopt.recipe.details.verification import AccuracyGate, CarriedOver, ClassChanges, ClassScores
from tfopt.recipe.details.weights import QuantizationErrors, WeightsByLayer
from tfopt.registry import Registry
from tfopt.report import page_parts, summary
from tfopt.report import section as sections
from tfopt.report.markdown import lines
from tfopt.report.page import Page, Part
from tfopt.report.section import SECTIONS, Section

PLAIN = Artifact("made", "mine", Path("run/made"), "model.tflite", "tflite", "k")


def with_details(*kinds):
    return replace(PLAIN, details=[BY_TYPE[kind] for kind in kinds])


# What each section tells of, and the first line of its Markdown.
CASES = {
    "gates": (replace(with_details(AccuracyGate), failed="too bad."), "**FAIL** made: too bad."),
    "warnings": (with_details(ConversionWarnings), "**WARNING** made: the samples are of another range."),
    "front": (with_details(SearchOutcome), "## made: the front"),
    "trials": (with_details(TuningOutcome), "## made: trials"),
    "steps": (with_details(AccuracySteps), "## made: what each step bought"),
    "class_changes": (with_details(ClassChanges), "## int8: what changed class"),
    "classes": (with_details(ClassScores), "## int8: class by class"),
    "comparisons": (
        replace(PLAIN, files={"int8": {"agreement": 0.99, "drop": 0.01}}),
        "## made: on LiteRT against the Keras models",
    ),
    "usage": (with_details(Usage), "## made: how to use the file"),
    "on_targets": (with_details(FilesOnTargets), "## made: which file is best where"),
    "latency": (with_details(Latencies), "## made: latency and memory"),
    "device_files": (with_details(DeviceFiles), "## made: on board"),
    "on_target": (
        replace(PLAIN, metrics={"arena_bytes": 5000, "tflm_max_error": 0.0}),
        "## made: on LiteRT for Microcontrollers",
    ),
    "decoded_kernels": (with_details(DecodedKernels), "## made: kernels decoded on TFLM"),
    "kits": (with_details(ExportedKits), "## made: kits to flash"),
    "weights": (with_details(WeightsByLayer), "## made: weights by layer"),
    "audit": (with_details(Audit), "## made: bytes by layer"),
    "weight_histograms": (with_details(WeightsByLayer), "## made: histograms of weights"),
    "quantization_errors": (with_details(QuantizationErrors), "## made: quantization error by layer"),
    "skipped": (replace(PLAIN, skipped=(Skipped("last", "no kernel"),)), "## made: left as it was"),
    "notes": (with_details(ConversionNotes), "## made: how it was made"),
    "curves": (with_details(TrainingHistory, SparsityRecords), "## Trainings"),
    "sparsity": (with_details(SparsityRecords), "## made: sparsity while training"),
    "channels": (with_details(ChannelRemoval), "## made: channels removed"),
    "carried": (with_details(CarriedOver), "## made: carried over from a tf_keras model"),
    "recipe": (PLAIN, None),
    "versions": (replace(PLAIN, environment={"python": "3.13"}), "## Made with"),
}
# A section of the page alone, on a file beside the artifacts.
PAGE_ONLY = "recipe"

each = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def found(tmp_path):
    """The blocks of a section about an artifact in a folder with a recipe."""

    def found(name, artifact):
        (tmp_path / "recipe.yaml").write_text("name: mine\nmodel: /home/me/projects/digits.py:build\n")
        return SECTIONS[name].blocks({artifact.name: replace(artifact, folder=tmp_path / "made")})

    return found


def test_the_sections_are_in_the_order_of_the_report_and_each_has_a_case():
    assert list(SECTIONS) == list(CASES)
    assert [section.rank for section in SECTIONS.values()] == sorted(section.rank for section in SECTIONS.values())


@each
def test_a_section_is_about_the_run_or_about_each_artifact(name):
    section = SECTIONS[name]
    assert section.name == name
    assert (section.of_run is None) != (section.of_artifact is None)


@each
def test_a_section_without_its_detail_says_nothing(name, found):
    if name in ("versions", PAGE_ONLY):
        pytest.skip("every run has an environment and a recipe")
    assert found(name, PLAIN) == []


@each
def test_a_section_with_its_detail_is_well_formed_markdown_with_its_heading(name, found):
    artifact, heading = CASES[name]
    written = lines(found(name, artifact))
    if name == PAGE_ONLY:
        assert written == []
        return
    assert written[:2] == ["", heading]
    assert all("\n" not in line for line in written)
    for at, line in enumerate(written):
        if line.startswith("#"):
            assert (written[at - 1], written[at + 1]) == ("", "")
        if set(line) == {"|", "-", ":"} or set(line) == {"|", "-"}:  # below the headers of a table
            rows = [written[at - 1], *_until_empty(written[at + 1 :])]
            assert written[at - 2] == ""
            assert {row.count("|") for row in rows if row.startswith("|")} == {line.count("|")}


@each
def test_a_section_with_its_detail_is_a_part_of_a_page(name, found):
    section, (artifact, heading) = SECTIONS[name], CASES[name]
    blocks = found(name, artifact)
    assert blocks
    root = check(Page("mine", parts=[Part(name, section.title, blocks)]).html())
    [part] = root.find("section", id=name)
    assert part.find("h2")[0].text == section.title
    words = (heading or "").lstrip("# ").removeprefix("**FAIL** made: ").removeprefix("**WARNING** made: ")
    assert words in part.text
    assert len(part.text) > len(section.title)


@each
def test_a_text_of_a_section_is_never_taken_for_markup(name, found):
    artifact, _ = CASES[name]
    mean = "<script>alert(1)</script>|`&amp;"
    blocks = found(name, replace(_renamed(artifact, mean), name=mean))
    text = Page(mean, parts=[Part(name, SECTIONS[name].title, blocks)]).html()
    root = check(text)
    assert "<script>" not in text
    assert root.find("h1")[0].text == mean
    assert root.find("section", id=name)


def _renamed(artifact, name):
    """The artifact with every word of its details replaced."""

    def changed(value):
        if isinstance(value, dict):
            return {key: changed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [changed(each) for each in value]
        kept = ("raw", "gzip", "accurate", "npu_milliseconds", "00")
        return name if isinstance(value, str) and value not in kept else value

    return replace(
        artifact,
        details={key: changed(value) for key, value in artifact.details.items()},
        skipped=tuple(Skipped(name, name) for _ in artifact.skipped),
        environment=dict.fromkeys(artifact.environment, name),
        failed=artifact.failed and name,
    )


def _until_empty(lines):
    return lines[: lines.index("")] if "" in lines else lines


@each
def test_a_value_of_ones_own_under_the_name_of_a_detail_is_left_alone(name, found):
    own = replace(PLAIN, details=dict.fromkeys(CASES[name][0].details, "mine"))
    if name not in ("versions", PAGE_ONLY):
        assert found(name, own) == []


def test_the_recipe_on_the_page_tells_nothing_of_the_machine(found):
    text = Page("mine", parts=[Part("recipe", "Recipe", found("recipe", PLAIN))]).html()
    assert "model: …/digits.py:build" in text
    assert "/home/me" not in text


OWN = """
from tfopt.report.blocks import Heading, Paragraph
from tfopt.report.section import Section

SECTION = Section(
    "weather",
    "The weather",
    of_artifact=lambda artifact: [
        Heading(f"{artifact.name}: the weather"), Paragraph(artifact.details.get("weather", "fair"))
    ],
)
"""


@pytest.fixture
def own_section(tmp_path, monkeypatch):
    """One more file in the folder of sections."""
    from tfopt.report import sections as folder

    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "weather.py").write_text(OWN)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path / "more")])
    registry = Registry(folder.__name__, Section)
    monkeypatch.setattr(sections, "SECTIONS", registry)
    monkeypatch.setattr(page_parts, "SECTIONS", registry)
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
    assert headings == ["## made: left as it was", "## made: the weather", "## other: the weather", "## Made with"]
    assert "\n\nrain\n" in text
    [part] = check((tmp_path / "report.html").read_text()).find("section", id="weather")
    assert [heading.text for heading in part.find("h3")] == ["other"]  # the last file, open
    assert [summary.text for summary in part.find("summary")] == ["made: the weather"]
    assert "rain" in part.text

"""The model card has the structure that the hub documents, and the figures of the report."""

from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from tests.detail_examples import BY_TYPE
from tfopt.recipe.artifact import CARD, Artifact
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.details.usage import Usage
from tfopt.report import summary

RECIPE = """\
name: digits
model: /home/me/projects/digits.py:build
data: /home/me/data/digits.py:load
stages:
- train: {epochs: 1}
- prune: {sparsity: 0.5}
- quantize: {name: int8}
- verify: {}
"""


@pytest.fixture
def run(tmp_path):
    """A folder of a run, and its artifacts."""
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    scored = {"digit_accuracy": 0.96, "f1": 0.95}
    train = Artifact(
        "train", "train", folder / "train", "model.keras", "keras", "a", ("source",), scored, tuple(scored)
    )
    prune = replace(train, name="prune", kind="prune", folder=folder / "prune", parents=("train",))
    int8 = Artifact(
        "int8",
        "quantize",
        folder / "int8",
        "model.tflite",
        "tflite",
        "b",
        ("prune",),
        {"raw_bytes": 9000.0, "gzip_bytes": 4000.0},
        details=[BY_TYPE[Usage], BY_TYPE[ConversionNotes]],
        environment={"python": "3.13", "keras": "3.15"},
    )
    measured = {"digit_accuracy": 0.9512345678, "f1": 0.94, "agreement": 0.99}
    verify = replace(int8, name="verify", kind="verify", files={"int8": measured}, scores=tuple(scored))
    timed = {"latency_median_seconds": 2e-5, "latency_p90_seconds": 3e-5}
    benchmark = replace(verify, name="benchmark", files={"int8": timed}, environment={"processor": "Some CPU"})
    return folder, {one.name: one for one in (train, prune, int8, verify, benchmark)}


def written(run):
    folder, artifacts = run
    summary.write(artifacts, folder)
    return (folder / CARD).read_text()


def parts(card):
    """The metadata and the text, split as the hub splits them."""
    empty, head, body = card.split("---\n", 2)
    assert empty == ""
    return YAML(typ="safe").load(head), body


def test_the_metadata_has_the_structure_that_the_hub_documents(run):
    head, _ = parts(written(run))
    assert head["license"] == "unknown"
    assert head["library_name"] == "litert"
    assert head["tags"] == ["tflite", "int8", "pruned"]
    assert head["metrics"] == ["accuracy", "f1"]
    [model] = head["model-index"]
    assert model["name"] == "digits"
    [result] = model["results"]
    assert set(result) == {"task", "dataset", "metrics"}
    assert result["task"] == {"type": "other", "name": "Classification"}
    assert result["dataset"] == {"type": "digits-py-load", "name": "digits.py:load", "split": "test"}
    assert result["metrics"] == [
        {"type": "accuracy", "name": "digit_accuracy on LiteRT", "value": 0.951235},
        {"type": "f1", "name": "f1 on LiteRT", "value": 0.94},
    ]


def test_the_license_is_said_to_be_for_the_author_to_choose(run):
    assert "---\n# The license is yours to choose: https://huggingface.co/docs/hub/" in written(run)


def test_the_text_has_the_figures_their_machine_and_how_to_use_the_file(run):
    _, body = parts(written(run))
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert [line for line in headings if not line.startswith("# your")][:6] == [
        "# digits",
        "## Intended use",
        "## Training data",
        "## Evaluation",
        "## How to use it",
        "## How it was made",
    ]
    for words in (
        "9,000 bytes, 4,000 bytes after gzip",
        "| int8 | 0.9512 | 0.9400 |",
        "median 20 µs of one sample on Some CPU",
        "Same class as the Keras model that it was made of: 99.0%",
        "- in image: int8 1x8x8x1: round(x / 0.0625) - 128",
        '"image": quantize(image, 0.0625, -128, np.int8)',
        "- loops were unrolled",
        "Made with python 3.13, keras 3.15.",
        "[More Information Needed]",
    ):
        assert words in body
    assert "/home/me" not in body


def test_a_failed_gate_is_said(run):
    folder, artifacts = run
    artifacts["verify"] = replace(artifacts["verify"], failed="int8 loses 0.1.")
    assert "This file did not pass its gate: int8 loses 0.1." in written((folder, artifacts))


def test_a_run_without_a_file_has_no_card(run):
    folder, artifacts = run
    summary.write({name: artifacts[name] for name in ("train", "prune")}, folder)
    assert not (folder / CARD).exists()


def test_a_run_without_its_recipe_has_a_card_still(run):
    folder, artifacts = run
    (folder / "recipe.yaml").unlink()
    head, body = parts(written((folder, artifacts)))
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "data given in Python"
    assert "```yaml" not in body

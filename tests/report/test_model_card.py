"""The model card has the structure that the hub documents, and the figures of the report."""

import re
from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from tests.detail_examples import BY_TYPE
from tfopt.recipe.artifact import CARD, PAGE, Artifact
from tfopt.recipe.details.quantization import ConversionNotes
from tfopt.recipe.details.timing import Latencies
from tfopt.recipe.details.usage import Usage
from tfopt.recipe.details.verification import AccuracyGate, ClassChanges, GatedFile, OutputChanges
from tfopt.report import summary

RECIPE = """\
name: digits
model: /home/me/projects/digits.py:build
data: /home/me/data/digits.py:load
stages:
- train: {epochs: 1}
- prune: {sparsity: 0.5, epochs: 1}
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
    return (folder / CARD).read_text(encoding="utf-8")


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


def gated(run, file, drop=0.3):
    """The run with a gate that a file did not pass, by its stage's name."""
    folder, artifacts = run
    passed = GatedFile("train", 0.95, 0.94, 0.01)
    failed = GatedFile("train", 0.95, 0.95 - drop, drop)
    gate = AccuracyGate("f1", 0.05, {"int8": passed, file: failed})
    verify = replace(artifacts["verify"], details=[gate], failed=f"{file} has f1 0.65.")
    return folder, {**artifacts, "verify": verify}


def test_a_failed_gate_is_said(run):
    said = "This file is less accurate than its recipe allows: f1 0.6500 on LiteRT, 0.3000 worse than the 0.9500 of "
    assert f"{said}train; the recipe allows 0.05." in written(gated(run, "int8"))


def test_a_gate_that_another_file_failed_is_not_said_of_this_one(run):
    assert "less accurate than its recipe allows" not in written(gated(run, "float16"))


def test_what_a_stage_failed_by_itself_is_said(run):
    folder, artifacts = run
    artifacts["int8"] = replace(artifacts["int8"], failed="of the 3 files that were tried the best loses 0.1.")
    assert "This file is less accurate than its recipe allows: of the 3 files that were tried" in written(
        (folder, artifacts)
    )


def test_a_check_of_ones_own_that_this_file_alone_failed_is_said(run):
    folder, artifacts = run
    artifacts["benchmark"] = replace(artifacts["benchmark"], failed="int8 takes 3 ms.")
    assert "This file is less accurate than its recipe allows: int8 takes 3 ms." in written((folder, artifacts))


def test_the_card_and_the_page_are_of_the_last_file_though_a_model_comes_after_it(run):
    folder, artifacts = run
    artifacts["cut"] = replace(
        artifacts["prune"], name="cut", folder=folder / "cut", metrics={"digit_accuracy": 0.53, "f1": 0.5}
    )
    _, body = parts(written((folder, artifacts)))
    page = (folder / PAGE).read_text(encoding="utf-8")
    said = "0.88 points less accurate in digit"
    lead = re.search(r'<p class="lead">(.*?)</p>', page)[1]
    assert lead.startswith(said)
    assert "same class as the Keras model of prune" in lead
    assert lead in body


def test_the_card_tells_the_gated_metric_and_the_changed_classes_as_the_page_does(run):
    folder, artifacts = gated(run, "float16")
    changes = OutputChanges("train", 200, 190, 6, 4, [0, 1], [], [], (), ())
    details = [artifacts["verify"].details.of(AccuracyGate), ClassChanges({"int8": {"digit": changes}})]
    artifacts["verify"] = replace(artifacts["verify"], details=details)
    said = "1.00 points worse in f1 than the model you started from; same class on 95.0% of the test samples."
    assert said in written((folder, artifacts))
    assert said in (folder / PAGE).read_text(encoding="utf-8")


def test_the_mode_is_that_of_the_stage_whatever_its_name(run):
    folder, artifacts = run
    stages = "- quantize: {mode: float32, after: train}\n- quantize: {mode: int16x8, after: prune}"
    (folder / "recipe.yaml").write_text(RECIPE.replace("- quantize: {name: int8}", stages), encoding="utf-8")
    again = replace(artifacts["int8"], name="quantize-2", folder=folder / "quantize-2")
    head, _ = parts(written((folder, {name: artifacts[name] for name in ("train", "prune")} | {"quantize-2": again})))
    assert head["tags"] == ["tflite", "int16x8", "pruned"]


def test_a_recipe_whose_code_is_gone_leaves_a_card(run):
    folder, _ = run
    (folder / "recipe.yaml").write_text(f"use: [/nowhere/größe.py]\n{RECIPE}", encoding="utf-8")
    head, body = parts(written(run))
    assert head["tags"] == ["tflite", "int8", "pruned"]
    assert "use: [größe.py]" in body


@pytest.mark.parametrize(("threads", "said"), [(1, "1 CPU thread."), (4, "4 CPU threads.")])
def test_the_threads_of_the_latency_are_those_that_were_used(run, threads, said):
    folder, artifacts = run
    artifacts["benchmark"] = replace(artifacts["benchmark"], details=[Latencies({}, threads)])
    assert f"median 20 µs of one sample on Some CPU, {said}" in written((folder, artifacts))


def test_a_run_without_a_file_has_no_card(run):
    folder, artifacts = run
    summary.write({name: artifacts[name] for name in ("train", "prune")}, folder)
    assert not (folder / CARD).exists()


def test_a_run_without_its_recipe_has_a_card_still(run):
    folder, artifacts = run
    (folder / "recipe.yaml").unlink()
    head, body = parts(written((folder, artifacts)))
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "unknown"
    assert "```yaml" not in body

"""Files for Ethos-U through whole runs: what lies beside them, what is refused before training, files on targets."""

import dataclasses
import hashlib
import importlib.util
import json
import re
from importlib import metadata

import pytest

import tfopt
from tfopt.errors import InputError, ModelError, RecipeError
from tfopt.recipe.details.device_files import DeviceFiles, FilesOnTargets
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS
from tfopt.report.console import summary
from tfopt.stages import benchmark
from tfopt.stages.benchmark import Benchmark
from tfopt.tflite.file import read

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ethosu") is None, reason="Vela is not installed (tfopt[ethos-u])"
)
MODEL = """
import keras
from keras import layers


def build(*between):
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu", name="stem"), *between, layers.Flatten(),
        layers.Dense(10, activation="softmax", name="head"),
    ])


def normalized():
    return build(layers.Reshape((36, 8)), layers.LayerNormalization(name="norm"))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of an untrained net: a file for Ethos-U, one in float, both on two targets."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "model.py").write_text(MODEL)
    (folder / "r.yaml").write_text(
        "name: t\nmodel: model.py:build\ndata: digits\nloss: sparse_categorical_crossentropy\nstages:\n"
        "  - quantize: {name: int8, target: {ethos-u55-128: {memory: Sram_Only}}}\n"
        "  - quantize: {name: float32, mode: float32, after: source}\n"
        "  - benchmark: {targets: [ethos-u55-128, ethos-u85-256]}\n"
    )
    return tfopt.run(folder / "r.yaml", out=folder / "out").artifacts


def test_the_compiled_file_lies_beside_the_plain_one(done):
    [file] = done["int8"].details.of(DeviceFiles).files
    compiled = done["int8"].folder / file.file
    assert hashlib.sha256(compiled.read_bytes()).hexdigest() == file.sha256
    assert done["int8"].metrics["compiled_bytes"] == file.bytes == compiled.stat().st_size
    assert [op.name for op in read(compiled).ops] == ["ethos-u"]
    assert [layer.layer for layer in file.layers] == ["stem", "head"]
    assert "ethos-u" not in [op.name for op in read(done["int8"].path).ops]
    assert not (done["float32"].folder / file.file).exists()


def test_each_file_is_held_to_each_target(done):
    found = done["benchmark"].details.of(FilesOnTargets)
    rows = {(row.file, row.target): row for row in found.rows}
    assert list(rows) == [
        (file, target) for file in ("int8", "float32") for target in ("ethos-u55-128", "ethos-u85-256")
    ]
    for target in ("ethos-u55-128", "ethos-u85-256"):
        assert rows["int8", target].figures["npu_milliseconds"] > 0
        assert rows["float32", target].figures == {}
        assert "Float32" in rows["float32", target].reason
        assert f"Vela {metadata.version('ethos-u-vela')}'s estimate" in found.notes[target][0]
    # Its own memory mode is another than that of the comparison.
    own = done["int8"].metrics
    assert rows["int8", "ethos-u55-128"].figures["total_cycles"] > own["total_cycles"]
    assert rows["int8", "ethos-u55-128"].figures["compiled_bytes"] > 0
    assert "latency_median_seconds" not in done["benchmark"].metrics


def test_the_reports_say_whose_estimate_it_is_wherever_the_figures_stand(done):
    folder = done["int8"].folder.parent
    report = (folder / "report.md").read_text()
    cycles = f"{done['int8'].metrics['total_cycles']:,.0f}"
    assert "## int8: on ethos-u55-128 (Vela's estimate)" in report
    assert f"- cycles: {cycles}" in report
    assert "| stem | Conv2D |" in report
    assert "ethos-u85-256 does not take float32: " in report
    page = (folder / "report.html").read_text()
    assert len(re.findall(r"Vela[\d. ]*&#39;s estimate", page)) > 3
    assert "on ethos-u55-128 (Vela's estimate): NPU time " in summary(done["int8"])
    assert "best on ethos-u85-256 (Vela's estimate): int8, NPU time " in summary(done["benchmark"])
    record = json.loads((folder / "report.json").read_text())
    [files] = [a["details"]["device_files"]["files"] for a in record["artifacts"] if a["name"] == "int8"]
    assert files[0]["figures"]["total_cycles"] == done["int8"].metrics["total_cycles"]


@pytest.mark.parametrize(
    "stage", ["quantize: {target: ethos-u55-128}", "search: {target: ethos-u55-128, max_drop: 0.5}"]
)
def test_what_falls_to_the_cpu_is_refused_before_anything_is_trained(recipe, tmp_path, one_line, stage):
    path = recipe("train: {epochs: 1}", stage, build="normalized")
    with pytest.raises(ModelError) as caught:
        tfopt.run(path, out=tmp_path / "out")
    text = one_line(caught)
    assert "target ethos-u55-128 leaves norm (" in text
    assert "cpu: allow" in text
    assert caught.value.exit_code == 2
    assert ".yaml:" in text
    assert not list((tmp_path / "out").glob("*/train"))


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([], "is a list of targets"),
        ("phone", "'phone'"),
        (["litert", "litert"], "names each target once"),
        (["int_only"], "target int_only tells nothing of a file"),
        (
            [{"ethos-u55-128": {"memory": "Dedicated_Sram"}}],
            "memory of target ethos-u55-128 is Shared_Sram or Sram_Only",
        ),
        ([{"tflm": {"ram": "1"}}], "target tflm has no option 'ram'"),
    ],
)
def test_targets_of_a_benchmark_are_known_and_tell_something(targets, words, one_line):
    with pytest.raises(RecipeError, match=r"benchmark\.targets") as caught:
        Benchmark(targets=targets)
    text = one_line(caught)
    assert words in text
    assert "convert" not in text


def test_an_editor_is_told_the_names_and_options_of_targets():
    one = Benchmark.model_json_schema()["properties"]["targets"]["items"]
    named, with_options = one["anyOf"]
    assert named["enum"] == list(TARGETS)
    assert with_options["properties"]["ethos-u55-128"]["properties"]["memory"] == {"enum": ["Shared_Sram", "Sram_Only"]}


def test_a_mistake_of_the_program_is_not_a_file_that_a_target_does_not_take(done, monkeypatch):
    def wrong(content, export):
        raise InputError("no such thing.")

    board = dataclasses.replace(TARGETS["int_only"], name="board", cost=wrong)
    monkeypatch.setattr(TARGETS, "_found", {**dict(TARGETS.items()), "board": board})
    with pytest.raises(InputError, match="no such thing"):
        benchmark._on_target(done["int8"], Export(target="board"), None)


def test_one_target_needs_no_list():
    assert Benchmark(targets="litert") == Benchmark(targets=["litert"])
    assert Benchmark(targets="litert").settings() == Benchmark().settings()


@pytest.mark.slow
def test_targets_with_a_runtime_are_measured_by_it(recipe, tmp_path):
    pytest.importorskip("tflite_micro")
    path = recipe(
        "quantize: {name: int8, target: ethos-u55-128}",
        "quantize: {name: dynamic, mode: dynamic, after: source}",
        "benchmark: {targets: [litert, tflm, ethos-u55-128], seconds: 0.1}",
    )
    found = tfopt.run(path, out=tmp_path / "out").artifacts["benchmark"]
    rows = {(row.file, row.target): row for row in found.details.of(FilesOnTargets).rows}
    assert rows["int8", "litert"].figures["latency_median_seconds"] == found.files["int8"]["latency_median_seconds"]
    assert rows["int8", "tflm"].figures["arena_bytes"] > 0
    assert rows["dynamic", "tflm"].reason
    assert rows["dynamic", "ethos-u55-128"].reason
    assert rows["dynamic", "litert"].figures

"""The model that a run starts from: which one it is, what is measured of it, and that it is never in the way."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorflow.errors import OpError

import tfopt
from tests.own_stages import COPY_AND_GATE
from tests.report.html_page import check
from tfopt.errors import ConversionError, RecipeError
from tfopt.pipeline import baseline, runner
from tfopt.pipeline.plan import Plan
from tfopt.recipe import stage
from tfopt.recipe.artifact import Artifact
from tfopt.recipe.progress import Progress
from tfopt.recipe.recipe import Recipe
from tfopt.report import summary
from tfopt.report.baseline import against, baseline_of, change
from tfopt.stages.quantize import Quantize
from tfopt.tflite import benchmark

MODEL = '''
import keras


def build():
    """A small classifier."""
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax", name="last")]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy")
    return model
'''


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A folder with a model as function and as file, data and stages, as the working directory; forgotten after."""
    own, before = stage._OWN, dict(stage._OWN)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_stages.py").write_text(COPY_AND_GATE)
    (tmp_path / "model.py").write_text(MODEL)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    yield tmp_path
    own.clear()
    own.update(before)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def recipe(*stages, **fields):
    fields = {"name": "r", "model": "model.py:build", "data": "npz:data.npz", "use": "my_stages.py", **fields}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    Path("r.yaml").write_text("\n".join([*lines, "stages:", *(f"  - {stage}" for stage in stages), ""]))
    return "r.yaml"


def saved():
    """The path of the model as a file."""
    layers = [keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax", name="last")]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy")
    model.save("model.keras")
    return "model.keras"


TRAIN = "train: {epochs: 1}"
HEAD = "replace_head: {units: 2}"
CASES = {
    "a trained model": ([TRAIN, "quantize: {}"], False, "train"),
    "one that was trained twice": (
        [TRAIN, "train: {name: more, epochs: 1}", "prune: {sparsity: 0.5, epochs: 1}"],
        False,
        "more",
    ),
    "one that is pruned at once": (["prune: {sparsity: 0.5, epochs: 1}", TRAIN], False, "source"),
    "one of several trained ones": ([TRAIN, "train: {name: other, after: source, epochs: 1}"], False, "train"),
    "a new head": ([HEAD, TRAIN, "quantize: {}"], False, "train"),
    "a file": (["quantize: {mode: float16}"], True, "source"),
    "a file that is trained on": ([TRAIN, "quantize: {}"], True, "source"),
    "a file with a new head": ([HEAD, TRAIN, "quantize: {}"], True, "train"),
}


@pytest.mark.parametrize(("stages", "file", "name"), CASES.values(), ids=CASES)
def test_the_baseline_is_the_last_model_that_is_not_compressed_yet(stages, file, name):
    given = recipe(*stages, model=saved() if file else "model.py:build")
    assert baseline.starting_point(Plan(Recipe.load(given), Path("out"), Progress())) == name


def test_a_source_model_is_scored_without_being_asked_for():
    result = tfopt.run(recipe("copy", model=saved()))
    data = np.load("data.npz")
    right = keras.models.load_model("model.keras").predict(data["x_test"], verbose=0).argmax(1) == data["y_test"]
    found = baseline_of(result.artifacts)
    assert (found.name, found.scores) == ("source", {"accuracy": pytest.approx(right.mean())})
    assert found.raw_bytes is None
    [first, second] = summary.rows(result.artifacts)
    assert (first.stage, first.baseline, second.stage, second.baseline) == ("source", True, "copy", False)
    assert second.against == {"accuracy": pytest.approx(0.5 - right.mean())}


def test_where_files_are_timed_the_float32_file_of_the_baseline_is_too():
    result = tfopt.run(recipe(TRAIN, "quantize: {mode: float16}", "benchmark: {seconds: 0.01}"))
    expected = tfopt.convert(result.artifacts["train"].path, "float32")
    found = baseline_of(result.artifacts)
    assert (found.name, found.raw_bytes) == ("train", len(expected))
    assert found.latency_median_seconds > 0
    assert {path.name for path in (result.folder / "baseline").iterdir()} == {"artifact.json", ".key"}
    assert result.path == result.folder / "quantize" / "model.tflite"
    row = summary.rows(result.artifacts)[-1]
    assert row.against["raw_bytes"] == pytest.approx(len(expected) / row.metrics["raw_bytes"])


def test_where_files_are_made_and_not_timed_the_float32_file_of_the_baseline_has_its_sizes():
    result = tfopt.run(recipe(TRAIN, "quantize: {mode: float16}"))
    expected = tfopt.convert(result.artifacts["train"].path, "float32")
    found = baseline_of(result.artifacts)
    assert (found.name, found.raw_bytes, found.latency_median_seconds) == ("train", len(expected), None)
    assert found.gzip_bytes > 0
    assert result.artifacts["baseline"].metrics["nonzero_parameters"] > 0
    assert {path.name for path in (result.folder / "baseline").iterdir()} == {"artifact.json", ".key"}
    assert "not timed add benchmark: {} to the recipe" in check(result.page.read_text()).text
    assert "add benchmark" not in check(tfopt.run(recipe(TRAIN)).page.read_text()).text


def test_a_float32_file_of_the_recipe_is_not_made_and_timed_again(monkeypatch):
    made, timed = [], []
    for room, method, seen in ((Quantize, "run", made), (benchmark, "timed", timed)):
        before = getattr(room, method)

        def counted(*arguments, _before=before, _seen=seen):
            _seen.append(1)
            return _before(*arguments)

        monkeypatch.setattr(room, method, counted)
    result = tfopt.run(recipe(TRAIN, "quantize: {name: float32, mode: float32}", "benchmark: {seconds: 0.01}"))
    assert (len(made), len(timed)) == (1, 1)
    measured = result.artifacts["benchmark"].files["float32"]
    found = baseline_of(result.artifacts)
    assert found.latency_median_seconds == measured["latency_median_seconds"]
    assert found.raw_bytes == measured["raw_bytes"]


def test_a_float32_file_of_other_settings_is_not_taken_for_the_baselines():
    result = tfopt.run(recipe(TRAIN, "quantize: {mode: float32, batch: any}", "benchmark: {seconds: 0.01}"))
    assert baseline_of(result.artifacts).raw_bytes == len(tfopt.convert(result.artifacts["train"].path, "float32"))


@pytest.mark.parametrize("what", ["scores", "float32 file"])
def test_what_cannot_be_measured_is_left_out_with_its_reason(monkeypatch, what):
    def refuse(*arguments):
        raise ConversionError("it cannot be done.")

    monkeypatch.setattr(baseline, "_scores" if what == "scores" else "_of_float_file", refuse)
    result = tfopt.run(recipe("quantize: {mode: float16}", "benchmark: {seconds: 0.01}"))
    [left] = result.artifacts["baseline"].skipped
    assert (left.where, left.reason) == (what, "it cannot be done.")
    found = baseline_of(result.artifacts)
    assert (found.scores == {}) == (what == "scores")
    assert (found.raw_bytes is None) == (what != "scores")
    assert f"## baseline: not measured\n\n- `{what}`: it cannot be done." in (result.folder / "report.md").read_text()


def test_what_failed_is_measured_by_the_next_run_and_then_never_again(monkeypatch):
    measured = []

    def scores(*arguments):
        measured.append(1)
        if len(measured) == 1:
            raise OpError(None, None, "the machine was busy", 8)
        return {"accuracy": 0.5}

    monkeypatch.setattr(baseline, "_scores", scores)
    runs = [tfopt.run(recipe("quantize: {mode: float16}")) for _ in range(3)]
    assert [baseline_of(run.artifacts).scores for run in runs] == [{}, {"accuracy": 0.5}, {"accuracy": 0.5}]
    assert len(measured) == 2
    assert all("quantize" in run.reused for run in runs[1:])


@pytest.mark.parametrize("error", [AttributeError, MemoryError])
def test_a_mistake_and_a_fault_of_the_machine_are_no_missing_measurement(monkeypatch, error):
    def fail(*arguments):
        raise error("it is not to be hidden")

    monkeypatch.setattr(baseline, "_scores", fail)
    with pytest.raises((tfopt.TfoptError, error), match="it is not to be hidden"):
        tfopt.run(recipe("quantize: {mode: float16}"))
    assert not Path("saved_models/r/baseline").exists()


def test_a_second_run_measures_nothing_and_other_metrics_or_another_timing_do(monkeypatch):
    measured = []
    before = baseline.measure

    def counted(plan, own_key, artifacts):
        measured.append(own_key)
        return before(plan, own_key, artifacts)

    monkeypatch.setattr(baseline, "measure", counted)
    stages = ["copy", "quantize: {mode: float16}"]
    tfopt.run(recipe(*stages))
    tfopt.run(recipe(*stages))
    assert len(measured) == 1
    tfopt.run(recipe(*stages, metrics="[balanced_accuracy]"))
    tfopt.run(recipe(*stages, "benchmark: {seconds: 0.01}", metrics="[balanced_accuracy]"))
    assert len(set(measured)) == 3


def test_results_of_a_version_without_baseline_get_one():
    result = tfopt.run(recipe("copy"))
    for file in (result.folder / "baseline").iterdir():
        file.unlink()
    (result.folder / "baseline").rmdir()
    again = tfopt.run(recipe("copy"))
    assert again.reused == ("copy",)
    assert baseline_of(again.artifacts) == baseline_of(result.artifacts)


def test_reports_made_again_know_the_baseline_and_cleaning_removes_it():
    result = tfopt.run(recipe("copy"))
    assert baseline_of(summary.collect(result.folder)) == baseline_of(result.artifacts)
    assert "starting model (baseline)" in (result.folder / "report.md").read_text()
    runner.clean(Recipe.load("r.yaml"), Path("saved_models"))
    assert not result.folder.exists()


def test_a_stage_cannot_have_its_name():
    with pytest.raises(RecipeError, match="uses the name 'baseline' itself"):
        Recipe.load(recipe("copy: {name: baseline}"))


def test_progress_hears_of_it():
    seen = []

    class Heard(Progress):
        def measuring(self, name):
            seen.append(name)

        def done(self, artifact):
            seen.append(artifact.kind)

    tfopt.run(recipe("copy"), progress=Heard())
    assert seen == ["copy", "source", "baseline"]


def test_a_run_without_one_is_compared_with_the_training_it_begins_with():
    def trained(name, *parents):
        return Artifact(name, "train", Path(name), "m", "keras", "k", parents, {"accuracy": 0.9}, ("accuracy",))

    found = baseline_of(
        {"source": Artifact("source", "source", Path(), "m", "keras", "k"), "t": trained("t", "source")}
    )
    assert (found.name, found.scores, found.raw_bytes) == ("t", {"accuracy": 0.9}, None)
    assert baseline_of({"t": trained("t", "prune")}) is None


def test_sizes_are_told_as_ratios_and_scores_as_differences():
    before = {"raw_bytes": 100.0, "latency_median_seconds": 2.0, "accuracy": 0.75, "mae": 1.0}
    after = {"raw_bytes": 25.0, "latency_median_seconds": 4.0, "accuracy": 0.5, "gzip_bytes": 3.0}
    assert against(after, before) == {"raw_bytes": 4.0, "latency_median_seconds": 0.5, "accuracy": -0.25}


@pytest.mark.parametrize(
    ("name", "difference", "text"),
    [
        ("accuracy", -0.00277, "-0.28 points"),
        ("digit_accuracy", 0.0125, "+1.25 points"),
        ("top_5", -1e-9, "+0.00 points"),
        ("speaker_f1", 0.5, "+50.00 points"),
        ("mae", -0.0125, "-0.0125"),
        ("r2", 0.5, "+0.5"),
        ("of_my_own", 1234.5, "+1234"),
    ],
)
def test_changes_of_fractions_are_told_in_points(name, difference, text):
    assert change(name, difference) == text

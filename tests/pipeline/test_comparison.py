"""Models on the same samples: what is taken, what is refused, and figures that agree with other ways to take them."""

import gzip
import json
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.stats import binomtest

import tfopt
from tests.conftest import ROOT
from tfopt.errors import DataError, InputError, ModelError
from tfopt.metrics import paired
from tfopt.metrics.paired import BOOTSTRAP, MCNEMAR
from tfopt.report import comparison as words
from tfopt.report.comparison import ComparedModel, Comparison
from tfopt.tflite.interpreter import Runner

MODEL = '''
import keras


def build():
    """A small classifier."""
    parts = [keras.layers.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential(parts)
    model.compile(loss="sparse_categorical_crossentropy")
    return model
'''
RECIPE = """
name: {name}
model: model.py:build
data: {data}
stages:
  - train: {{epochs: {epochs}}}
  - quantize: {{mode: {mode}}}
"""


def arrays(seed):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, 200)
    x = (generator.normal(size=(200, 6)) + 1.5 * np.eye(3, 6)[y]).astype(np.float32)
    return x, y


def classifier(units=3, inputs=6, seed=0, activation="softmax", loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(seed)
    parts = [keras.layers.Input((inputs,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(units, activation)]
    model = keras.Sequential(parts)
    model.compile(loss=loss)
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two runs on the same data, one on other data, model files, and labelled samples."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "model.py").write_text(MODEL)
    for name, seed in (("data", 0), ("other", 1)):
        x, y = arrays(seed)
        np.savez(folder / f"{name}.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    x, y = arrays(2)
    np.savez(folder / "labelled.npz", x=x, y=y)
    np.save(folder / "x.npy", x)
    for name, data, epochs, mode in (
        ("a", "data", 6, "int8"),
        ("b", "data", 1, "float32"),
        ("c", "other", 1, "float32"),
    ):
        recipe = RECIPE.format(name=name, data=folder / f"{data}.npz", epochs=epochs, mode=mode)
        (folder / f"{name}.yaml").write_text(recipe)
        tfopt.run(folder / f"{name}.yaml", folder / "runs")
    classifier().save(folder / "plain.keras")
    (folder / "plain.tflite").write_bytes(tfopt.convert(classifier(), "float32"))
    (folder / "four.tflite").write_bytes(tfopt.convert(classifier(units=4), "float32"))
    (folder / "wide.tflite").write_bytes(tfopt.convert(classifier(inputs=9), "float32"))
    (folder / "cut.tflite").write_bytes((folder / "plain.tflite").read_bytes()[:100])
    (folder / "model.onnx").write_bytes(b"onnx")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(autouse=True)
def untimed(request, monkeypatch):
    """No process is started to time the files, but for a test that asks for `timed`."""
    if "timed" not in request.fixturenames:
        monkeypatch.setattr("tfopt.pipeline.comparison._latencies", lambda *_: {})


@pytest.fixture
def timed():
    """The files of the test are timed."""


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_runs_are_compared_on_their_test_split_with_figures_of_their_files(folder, timed):
    found = tfopt.compare("runs/a", "runs/b", seconds=0.01)
    first, second = found.models
    x, y = arrays(0)
    answers = [Runner(folder / "runs" / name / "quantize" / "model.tflite")(x) for name in "ab"]
    right = [next(iter(answer.values())).argmax(1) == y for answer in answers]
    assert [model.name for model in found.models] == ["a", "b"]
    for model, own, name in zip(found.models, right, "ab", strict=True):
        content = (folder / "runs" / name / "quantize" / "model.tflite").read_bytes()
        assert (model.bytes, model.gzip_bytes) == (len(content), len(gzip.compress(content, 9)))
        assert model.scores == {"accuracy": pytest.approx(own.mean())}
        assert model.latency_median_seconds > 0
    assert first.difference is None
    assert second.agreement == pytest.approx(
        (next(iter(answers[0].values())).argmax(1) == next(iter(answers[1].values())).argmax(1)).mean()
    )
    won, lost = (right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum()
    assert second.difference.difference == pytest.approx(right[1].mean() - right[0].mean())
    assert second.difference.p == pytest.approx(binomtest(int(won), int(won + lost)).pvalue)
    assert second.difference.method == MCNEMAR
    assert second.difference.low < second.difference.difference < second.difference.high
    assert (found.samples, found.data) == (200, "a")
    assert found.best("bytes") == (min(found.models, key=lambda model: model.bytes).name,)


def test_recipes_results_and_files_go_together(folder, timed):
    result = tfopt.run("b.yaml", "runs")
    found = tfopt.compare("a.yaml", result, "plain.tflite", "plain.keras", out="runs", seconds=0.01)
    names = ["a", "b", "plain.tflite", "plain.keras"]
    assert [model.name for model in found.models] == names
    assert [model.format for model in found.models] == ["tflite", "tflite", "tflite", "keras"]
    file, model = found.models[2:]
    assert file.scores == model.scores
    assert model.latency_median_seconds is None


def test_files_alone_are_scored_on_the_samples_that_are_given(folder):
    x, y = arrays(2)
    by_name = tfopt.compare("plain.tflite", "runs/a/quantize/model.tflite", data="labelled.npz", seconds=0.01)
    in_python = tfopt.compare("plain.tflite", "runs/a/quantize/model.tflite", data=(x, y), seconds=0.01)
    assert [model.scores for model in by_name.models] == [model.scores for model in in_python.models]
    assert by_name.models[1].difference == in_python.models[1].difference
    assert by_name.data == "labelled.npz"


def test_another_metric_has_its_differences_by_a_bootstrap(folder, monkeypatch):
    monkeypatch.setattr(paired, "RESAMPLES", 100)
    found = tfopt.compare("plain.tflite", "runs/a", data="labelled.npz", metrics=["f1", "accuracy"], seconds=0.01)
    assert list(found.metrics) == ["f1", "accuracy"]
    difference = found.models[1].difference
    assert difference.method == BOOTSTRAP
    assert difference.difference == pytest.approx(found.models[1].scores["f1"] - found.models[0].scores["f1"])
    assert difference.low < difference.difference < difference.high


def test_values_are_compared_by_their_error_and_the_smaller_one_is_the_best(folder, tmp_path):
    x = np.random.default_rng(3).normal(size=(64, 6)).astype(np.float32)
    for seed in (0, 1):
        model = classifier(1, activation="linear", loss="mse", seed=seed)
        (tmp_path / f"{seed}.tflite").write_bytes(tfopt.convert(model, "float32"))
    y = classifier(1, activation="linear", loss="mse", seed=1).predict(x, verbose=0)[:, 0] + 0.01
    found = tfopt.compare(tmp_path / "0.tflite", tmp_path / "1.tflite", data=(x, y), seconds=0.01)
    assert found.metrics == {"mse": False}
    assert found.best("mse") == ("1.tflite",)
    assert found.models[1].difference.high < 0
    assert found.models[1].agreement is None


def test_logits_of_two_classes_are_cut_at_zero(tmp_path):
    x = np.random.default_rng(3).normal(size=(64, 6)).astype(np.float32)
    paths = []
    for seed in (0, 1):
        model = classifier(1, activation="linear", loss=keras.losses.BinaryCrossentropy(from_logits=True), seed=seed)
        logits = model.predict(x, verbose=0)[:, 0]
        paths.append(tmp_path / f"{seed}.tflite")
        paths[-1].write_bytes(tfopt.convert(model, "float32"))
    found = tfopt.compare(*paths, data=(x, (logits > 0).astype(np.int64)), seconds=0.01)
    assert found.models[1].scores == {"accuracy": 1.0}


REFUSED = {
    "one model alone": (["plain.tflite"], {}, InputError, "two models or more"),
    "a missing file": (["plain.tflite", "none.tflite"], {}, ModelError, "there is no file or folder none.tflite"),
    "a file twice": (["plain.tflite", "./plain.tflite"], {}, InputError, "named twice"),
    "a folder without results": (["plain.tflite", "empty"], {}, InputError, "holds no results"),
    "a recipe that was not run": (["a.yaml", "b.yaml"], {"out": "elsewhere"}, InputError, "holds no results"),
    "another framework's file": (["plain.tflite", "model.onnx"], {}, ModelError, "ONNX"),
    "no model at all": (["plain.tflite", "x.npy"], {}, ModelError, "not a model file"),
    "a file that is cut short": (["plain.tflite", "cut.tflite"], {"data": "labelled.npz"}, ModelError, "cut.tflite"),
    "other classes": (["runs/a", "four.tflite"], {}, ModelError, "a gives 3 scores and four.tflite gives 4 scores"),
    "files without data": (["plain.tflite", "plain.keras"], {}, DataError, "--data"),
    "runs of different data": (["runs/a", "runs/c"], {}, DataError, "different data"),
    "data without labels": (["plain.tflite", "runs/a"], {"data": "x.npy"}, DataError, "no labels"),
    "data that is not there": (["plain.tflite", "runs/a"], {"data": "none.npz"}, InputError, "none.npz"),
    "an unknown metric": (["runs/a", "runs/b"], {"metrics": "acuracy"}, InputError, "Did you mean 'accuracy'"),
}


@pytest.mark.parametrize(("models", "settings", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused_in_one_line(folder, one_line, models, settings, error, said):
    with pytest.raises(error) as caught:
        tfopt.compare(*models, seconds=0.01, **settings)
    assert said in one_line(caught)


def test_samples_that_do_not_fit_a_model_name_it(folder, one_line):
    with pytest.raises(DataError) as caught:
        tfopt.compare("plain.tflite", "wide.tflite", data="labelled.npz", seconds=0.01)
    assert "wide.tflite does not take the samples of labelled.npz" in one_line(caught)


def test_what_is_refused_is_refused_before_tensorflow_is_imported(folder):
    cases = [(models, settings) for models, settings, error, said in REFUSED.values() if "metrics" not in settings]
    code = f"""
import sys
import tfopt
for models, settings in {cases!r}:
    try:
        tfopt.compare(*models, **settings)
    except tfopt.InputError:
        print("tensorflow" in sys.modules, models)
"""
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )
    lines = finished.stdout.splitlines()
    assert len(lines) == len(cases)
    assert [line for line in lines if line.startswith("True")] == []


def model(name, accuracy, size, latency=None):
    return ComparedModel(name, "tflite", size, size // 2, {"accuracy": accuracy}, latency)


def test_the_best_of_a_column_are_all_that_are_equal_and_none_where_all_are():
    found = Comparison(
        (model("a", 0.9, 100, 2.0), model("b", 0.9, 100), model("c", 0.8, 100, 1.0)), {"accuracy": True}, 10, "d"
    )
    assert found.best("accuracy") == ("a", "b")
    assert found.best("bytes") == ()
    assert found.best("latency_median_seconds") == ("c",)
    assert words.lead(found).endswith("In accuracy none differs from a beyond chance.")
    assert words.figures(found).rows[0][1] == "* 0.9000"
    assert not words.figures(found).rows[2][1].startswith(words.BEST)


def test_latencies_within_the_noise_of_the_fastest_are_as_fast():
    def timed(name, median, p90):
        return replace(model(name, 0.9, 100, median), latency_p90_seconds=p90)

    found = Comparison((timed("a", 1.0, 1.2), timed("b", 1.1, 1.9), timed("c", 1.3, 1.3)), {"accuracy": True}, 10, "d")
    assert found.best("latency_median_seconds") == ("a", "b")
    assert Comparison(found.models[:2], found.metrics, 10, "d").best("latency_median_seconds") == ()


def test_the_record_and_the_page_have_every_model(folder):
    found = tfopt.compare("runs/a", "runs/b", seconds=0.01)
    record = json.loads(json.dumps(words.record(found)))
    assert [one["name"] for one in record["models"]] == ["a", "b"]
    assert record["best"]["bytes"] == list(found.best("bytes"))
    assert set(record["models"][1]["difference"]) >= {"difference", "low", "high", "p", "method"}
    html = words.page(found).html()
    for part in ("<svg", f"{found.models[0].bytes:,} B", "McNemar", "runs" if "runs" in found.title else "200 samples"):
        assert part in html
    assert [row["model"] for row in found.records()] == ["a", "b"]
    assert repr(found).startswith("Comparison: 2 models on 200 samples of a")


def test_a_model_named_as_markup_is_escaped_on_the_page():
    found = Comparison((model("<script>", 0.9, 100), model("b", 0.8, 90)), {"accuracy": True}, 10, "d")
    assert "<script>" not in words.page(found).html()


def test_names_that_are_the_same_are_told_apart(folder, tmp_path):
    (tmp_path / "a").mkdir()
    tfopt.run("a.yaml", tmp_path / "again")
    found = tfopt.compare("runs/a", tmp_path / "again" / "a", seconds=0.01)
    assert len({one.name for one in found.models}) == 2
    assert [one.name for one in found.models] == ["runs/a/quantize/model.tflite", "again/a/quantize/model.tflite"]
    assert found.models[1].difference.p == 1


def test_several_outputs_have_metrics_of_their_own_whoever_made_the_file(tmp_path):
    x = np.random.default_rng(3).normal(size=(48, 6)).astype(np.float32)
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        given = keras.layers.Input((6,))
        outputs = {
            "kind": keras.layers.Dense(3, "softmax", name="kind")(given),
            "size": keras.layers.Dense(1, name="size")(given),
        }
        model = keras.Model(given, outputs)
        model.compile(loss={"kind": "sparse_categorical_crossentropy", "size": "mse"})
        (tmp_path / f"{seed}.tflite").write_bytes(tfopt.convert(model, "float32"))
    model.save(tmp_path / "model.keras")
    truth = model.predict(x, verbose=0)
    y = {"kind": truth["kind"].argmax(1), "size": truth["size"][:, 0]}
    files = (tmp_path / "0.tflite", tmp_path / "1.tflite")
    for models in (files, (*files, tmp_path / "model.keras")):
        found = tfopt.compare(*models, data=(x, y), seconds=0.01)
        assert found.metrics == {"kind_accuracy": True, "size_mse": False}
        assert found.models[1].scores == {"kind_accuracy": 1.0, "size_mse": pytest.approx(0, abs=1e-9)}
        assert found.models[1].difference.method == MCNEMAR
        assert found.models[1].difference.difference == pytest.approx(1 - found.models[0].scores["kind_accuracy"])


def two_outputs(names, seed=0):
    """A model of two outputs in logits and values, under the given names."""
    keras.utils.set_random_seed(seed)
    given = keras.layers.Input((6,))
    units = zip(names, (1, 2), strict=True)
    model = keras.Model(given, {name: keras.layers.Dense(count, name=name)(given) for name, count in units})
    losses = (keras.losses.BinaryCrossentropy(from_logits=True), "mse")
    model.compile(loss=dict(zip(names, losses, strict=True)))
    return model


@pytest.mark.parametrize("labels", ["ab", "pq"], ids=["the names of the file", "the names of the model"])
@pytest.mark.parametrize("metrics", [(), ("mae",)], ids=["the usual metrics", "one metric"])
@pytest.mark.sample(2)
def test_a_model_whose_outputs_have_other_names_answers_the_labels(tmp_path, labels, metrics):
    file, model = tmp_path / "own.tflite", two_outputs("pq", seed=1)
    file.write_bytes(tfopt.convert(two_outputs("ab"), "float32"))
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(3).normal(size=(48, 6)).astype(np.float32)
    logits, values = model.predict(x, verbose=0).values()
    y = dict(zip(labels, ((logits[:, 0] > 0).astype(np.int64), values), strict=True))
    found = tfopt.compare(file, tmp_path / "m.keras", data=(x, y), metrics=metrics, seconds=0.01)
    names = [f"{labels[0]}_{(*metrics, 'accuracy')[0]}", f"{labels[1]}_{(*metrics, 'mse')[0]}"]
    assert list(found.metrics) == names
    assert found.models[1].scores[names[1]] == pytest.approx(0, abs=1e-5)
    if not metrics:  # the outputs decide at 0, as the model's loss says
        assert found.models[1].scores[names[0]] == 1
        assert found.models[1].difference.method == MCNEMAR


def test_the_decisions_of_a_model_count_for_a_file_with_another_name_for_its_output(tmp_path):
    model = classifier(1, activation="linear", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    model.save(tmp_path / "m.keras")
    other = keras.Model(model.inputs, {"elsewhere": model.outputs[0]})
    (tmp_path / "f.tflite").write_bytes(tfopt.convert(other, "float32"))
    x = np.random.default_rng(3).normal(size=(64, 6)).astype(np.float32)
    logits = model.predict(x, verbose=0)[:, 0]
    y = (logits > 0).astype(np.int64)
    assert ((logits > 0) != (logits > 0.5)).any()
    found = tfopt.compare(tmp_path / "f.tflite", tmp_path / "m.keras", data=(x, y), seconds=0.01)
    assert [one.scores for one in found.models] == [{"accuracy": 1.0}] * 2


def test_one_sample_is_compared_and_judged_to_be_too_few(tmp_path):
    paths = [tmp_path / f"{seed}.tflite" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        path.write_bytes(tfopt.convert(classifier(1, activation="linear", loss="mse", seed=seed), "float32"))
    found = tfopt.compare(*paths, data=(np.ones((1, 6), np.float32), np.array([0.5])), seconds=0.01)
    assert np.isnan(found.models[1].difference.p)
    assert words.differences(found).rows[0][-1] == words.UNTOLD


def test_models_in_memory_and_bytes_of_files_are_compared_as_their_files_are(folder):
    model = classifier()
    content = tfopt.convert(model, "float32")
    found = tfopt.compare(model, content, "plain.tflite", data="labelled.npz", seconds=0.01)
    assert [one.name for one in found.models] == [model.name, "model 2", "plain.tflite"]
    assert found.models[1].scores == found.models[2].scores
    assert found.models[1].bytes == len(content)
    assert found.models[1].agreement == 1


def test_a_recipe_as_data_is_its_test_split(folder):
    files = ("plain.tflite", "runs/a/quantize/model.tflite")
    by_recipe = tfopt.compare(*files, data="a.yaml", seconds=0.01)
    assert by_recipe.data == "a"
    assert by_recipe.models[0].scores == tfopt.compare(*files, data=arrays(0), seconds=0.01).models[0].scores


def test_where_one_path_is_long_all_files_have_the_ends_of_theirs(folder, tmp_path):
    deep = tmp_path / "a-folder-with-a-name-that-is-rather-long" / "stage"
    deep.mkdir(parents=True)
    for name in ("model.tflite", "other.tflite"):
        (deep / name).write_bytes((folder / "plain.tflite").read_bytes())
    given = ("runs/a", "plain.tflite", deep / "model.tflite", deep / "other.tflite")
    found = tfopt.compare(*given, seconds=0.01)
    assert [one.name for one in found.models] == ["a", "plain.tflite", "stage/model.tflite", "other.tflite"]


def test_the_bytes_of_a_keras_file_are_said_to_be_an_archives(folder):
    found = tfopt.compare("plain.tflite", "plain.keras", data="labelled.npz", seconds=0.01)
    assert [line for line in words.sentences(found) if line.startswith("bytes of plain.keras: the archive")]
    assert "archive" not in " ".join(words.sentences(replace(found, models=found.models[:1])))


SPLIT = """
import numpy as np

def {name}():
    generator = np.random.default_rng({seeded})
    order = np.arange(200)
    moved = order if {random!r} == "all" else order[:150]
    moved[:] = generator.permutation(moved) if {random!r} else moved
    x, y = np.arange(1200, dtype="float32").reshape(200, 6)[order], order % 3
    return {{"x_train": x[:150], "y_train": y[:150], "x_test": x[150:], "y_test": y[150:]}}
"""


@pytest.mark.parametrize("random", ["all", "train", ""], ids=["all_by_the_seed", "train_by_the_seed", "fixed"])
def test_runs_of_two_seeds_are_compared_where_both_have_the_same_test_split(folder, tmp_path, random, one_line):
    text = SPLIT.format(name="load", seeded="np.random.randint(1 << 30)", random=random)
    (tmp_path / "split.py").write_text(text)
    recipe = RECIPE.format(name="s", data=f"{tmp_path}/split.py:load", epochs=1, mode="float32")
    (folder / "s.yaml").write_text(recipe)
    for seed in (1, 2):
        tfopt.run(tfopt.Recipe.load(folder / "s.yaml", seed=seed), tmp_path / str(seed))
    runs = [tmp_path / str(seed) / "s" for seed in (1, 2)]
    if random == "all":
        with pytest.raises(DataError, match="of the seeds 1 and 2, different test splits") as caught:
            tfopt.compare(*runs)
        one_line(caught)
    else:
        assert len(tfopt.compare(*runs).models) == 2

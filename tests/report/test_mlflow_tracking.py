"""A run of a recipe in MLflow's own file store: what is recorded, under which names, and what a failure does."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from mlflow import MlflowClient

import tfopt
from tests.report.tracked import go_on_and_fail, interrupt, small_recipe
from tfopt.errors import InputError
from tfopt.recipe.progress import Progress, Together
from tfopt.report.mlflow_tracking import MLflowProgress


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    """MLflow's store in plain files, which takes no database to be set up."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture
def store(tmp_path):
    return (tmp_path / "store").as_uri()


def runs(store, experiment="tfopt"):
    client = MlflowClient(tracking_uri=store)
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_a_run_has_settings_metrics_by_epoch_and_stage_files_and_reports(store, tmp_path, make_blobs):
    recipe = small_recipe(make_blobs)
    results = [tfopt.run(recipe, tmp_path / "out", progress=MLflowProgress(store)) for _ in range(2)]
    assert results[1].reused == ("train", "int8", "verify")
    client, [run] = runs(store)
    assert (run.info.run_name, run.info.status) == ("blobs", "FINISHED")
    assert run.data.params["train.epochs"] == "2"
    assert run.data.params["verify.max_drop"] == "0.9"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2]
    measured = {**results[0].final.metrics, **results[0].artifacts["verify"].files["int8"]}
    assert measured
    assert {name: run.data.metrics[f"int8/{name}"] for name in measured} == measured
    assert run.data.tags["passed"] == "true"
    assert run.data.tags["tfopt.version"] == tfopt.__version__
    listed = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert listed == {
        "int8",
        "report.html",
        "report.md",
        "report.json",
        "recipe.yaml",
        "provenance.json",
        "model_card.md",
    }
    copy = client.download_artifacts(run.info.run_id, "int8/model.tflite", str(tmp_path))
    assert Path(copy).read_bytes() == results[0].path.read_bytes()


def test_a_run_that_stops_is_gone_on_with_and_a_gate_that_is_not_met_is_a_failure(store, tmp_path):
    told = MLflowProgress(store, "mine")
    with pytest.raises(KeyboardInterrupt):
        interrupt(told, tmp_path)
    assert [run.info.status for run in runs(store, "mine")[1]] == ["KILLED"]
    go_on_and_fail(told, tmp_path)
    client, [run] = runs(store, "mine")
    assert run.info.status == "FAILED"
    assert (run.data.tags["passed"], run.data.tags["failed"]) == ("false", "accuracy is less.")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3, 4]


def test_what_fails_in_mlflow_is_said_once_and_the_run_goes_on(store, tmp_path):
    lines = []
    told = MLflowProgress(store, notify=lines.append)
    told.started("r", {}, "k", tmp_path)
    told.stage("train", "train", 1, 1)
    MlflowClient(tracking_uri=store).delete_run(runs(store)[1][0].info.run_id)
    told.epoch(1, 2, {"loss": 1.0})
    told.epoch(2, 2, {"loss": 1.0})
    told.close()
    [line] = lines
    assert line.startswith("MLflow records no more of this run: ")


def test_a_server_that_is_not_there_is_said_before_anything_is_computed(one_line):
    with pytest.raises(InputError) as caught:
        MLflowProgress("http://127.0.0.1:9")
    assert "127.0.0.1:9" in one_line(caught)


def test_without_mlflow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match=r"pip install 'tfopt\[mlflow\]'"):
        MLflowProgress()


def test_several_are_told_everything_in_their_order():
    heard = []

    class Listener(Progress):
        def stage(self, name, kind, index, count):
            heard.append((self, name))

    first, second = Listener(), Listener()
    Together(first, second).stage("a", "train", 1, 2)
    assert heard == [(first, "a"), (second, "a")]


@pytest.mark.slow
def test_the_command_records_in_the_database_of_the_folder(tmp_path):
    np.savez(
        tmp_path / "data.npz", x_train=np.ones((20, 4)), y_train=np.ones(20), x_test=np.ones((9, 4)), y_test=np.ones(9)
    )
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nmodel: model.keras\ndata: data.npz\nstages: [{quantize: {mode: float32}}]\n")
    command = [sys.executable, "-m", "tfopt", "run", "r.yaml", "--mlflow"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert (finished.returncode, finished.stderr) == (0, "")
    _, [run] = runs(f"sqlite:///{tmp_path}/mlflow.db")
    assert run.info.status == "FINISHED"

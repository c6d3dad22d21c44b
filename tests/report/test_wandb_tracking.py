"""A run of a recipe in Weights & Biases, offline: what is recorded, under which names, and what a failure does."""

import json
import os
import struct
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tests.report.tracked import begin, go_on_and_fail, interrupt, small_recipe
from tfopt.errors import InputError
from tfopt.report.wandb_tracking import WandbProgress

# A block of a LevelDB log, which the file of a run is after a head of its own.
BLOCK, HEAD = 32768, 7


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """The folder that offline runs are written into; wandb reads its environment once in a process."""
    wandb = pytest.importorskip("wandb", reason="wandb is not installed (tfopt[wandb])")
    wandb.teardown()
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for place in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(place, str(tmp_path / "tracked"))
    (tmp_path / "tracked").mkdir()
    yield tmp_path / "tracked" / "wandb"
    wandb.teardown()


def records(file):
    """The records of the file of a run, which is a log of LevelDB with messages of protobuf in it."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, message = file.read_bytes(), HEAD, b""
    while place + HEAD <= len(data):
        if (left := BLOCK - place % BLOCK) < HEAD:
            place += left
            continue
        length, part = struct.unpack("<HB", data[place + 4 : place + HEAD])
        message += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if part in (1, 4):  # all of a message, or the last part of one
            yield Record.FromString(message)
            message = b""


def recorded(folder):
    """Name, project, settings, epochs, results, files and exit code of the one run in a folder."""
    import wandb

    wandb.teardown()  # the process that writes the file ends with all of it written
    [file] = folder.glob("offline-run-*/run-*.wandb")
    found = {"config": {}, "history": [], "summary": {}, "files": {}}
    for record in records(file):
        match record.WhichOneof("record_type"):
            case "run":
                found |= {"id": record.run.run_id, "name": record.run.display_name, "project": record.run.project}
                found["config"] |= values(record.run.config.update)
            case "config":
                found["config"] |= values(record.config.update)
            case "history":
                found["history"].append(values(record.history.item))
            case "summary":
                found["summary"] |= values(record.summary.update)
            case "artifact":
                found["files"] = {entry.path: entry.size for entry in record.artifact.manifest.contents}
            case "exit":
                found["exit"] = record.exit.exit_code
    file.unlink()  # a second run in the same second has the same folder
    return found


def values(items):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_a_run_has_settings_metrics_by_epoch_and_stage_files_and_reports(offline, tmp_path, make_blobs):
    result = tfopt.run(small_recipe(make_blobs), tmp_path / "out", progress=WandbProgress())
    found = recorded(offline)
    assert (found["name"], found["project"], found["exit"]) == ("blobs", "tfopt", 0)
    assert found["config"]["train.epochs"] == 2
    assert found["config"]["verify.max_drop"] == 0.9
    assert found["config"]["tfopt.version"] == tfopt.__version__
    assert found["config"]["keras"] == keras.__version__
    assert [row["train/epoch"] for row in found["history"]] == [1, 2]
    assert all({"train/loss", "train/val_accuracy"} <= set(row) for row in found["history"])
    measured = {**result.final.metrics, **result.artifacts["verify"].files["int8"]}
    assert measured
    assert {name: found["summary"][f"int8/{name}"] for name in measured} == measured
    assert (found["summary"]["passed"], found["summary"]["failed"]) == (True, "")
    reports = {"report.html", "report.md", "report.json", "recipe.yaml", "provenance.json", "model_card.md"}
    assert set(found["files"]) == {"int8/model.tflite", *reports}
    assert found["files"]["int8/model.tflite"] == result.path.stat().st_size


def test_a_run_that_stops_is_gone_on_with_and_a_gate_that_is_not_met_is_a_failure(offline, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupt(WandbProgress("mine"), tmp_path)
    before = recorded(offline)
    told = WandbProgress("mine")
    go_on_and_fail(told, tmp_path)
    after = recorded(offline)
    assert before["exit"] == 130
    assert (before["id"], before["project"]) == (after["id"], after["project"]) == ("0a1b", "mine")
    assert (after["exit"], after["summary"]["failed"]) == (1, "accuracy is less.")
    assert after["config"]["train.epochs"] == 3
    assert [row["train/epoch"] for row in after["history"]] == [2, 3, 4]


def test_what_fails_in_the_tracker_is_said_once_and_the_run_goes_on(offline, tmp_path):
    lines = []
    told = WandbProgress(notify=lines.append)
    begin(told, tmp_path)
    told._run.finish()  # as another thread may
    told.epoch(1, 2, {"loss": 1.0})
    told.epoch(2, 2, {"loss": 1.0})
    told.close()
    [line] = lines
    assert line.startswith("Weights & Biases records no more of this run: ")


def test_without_a_login_it_is_said_before_anything_is_computed(offline, monkeypatch, tmp_path, one_line):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))  # where the keys of a login are
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(InputError) as caught:
        WandbProgress()
    assert "wandb login" in one_line(caught)


def test_without_wandb_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"pip install 'tfopt\[wandb\]'"):
        WandbProgress()


@pytest.mark.slow
def test_the_command_records_and_prints_nothing_of_it(offline, tmp_path):
    x, y = np.ones((20, 4)), np.ones(20)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nmodel: model.keras\ndata: data.npz\nstages: [{quantize: {mode: float32}}]\n")
    command = [sys.executable, "-m", "tfopt", "run", "r.yaml", "--wandb", "--quiet"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=dict(os.environ))
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.count("\n") == 1
    assert recorded(offline)["exit"] == 0

"""`tfopt search` and `tune` in several processes, with real recipes, killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfopt.recipe.artifact import Artifact

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

SEARCH = """
name: searched
model: {root}/pipelines/digits.py:build
data: digits
stages:
  - train: {{epochs: 3}}
  - search:
      within: {{gzip_bytes: 6 KB}}
      trials: 8
      epochs: [1, 3]
      promoted: 0.25
  - verify: {{max_drop: 0.9}}
"""
TUNE = """
name: tuned
model: {root}/pipelines/digits.py:build
data: digits
stages:
  - tune:
      stages: [{{train: {{epochs: 2}}}}]
      space: {{train.optimizer.adam.learning_rate: {{log: [1.0e-4, 1.0e-2]}}}}
      trials: 6
  - quantize: {{}}
"""


def written(folder, text):
    recipe = folder / "recipe.yaml"
    recipe.write_text(text.format(root=ROOT))
    return recipe


def start(recipe, out, *more, **environment):
    command = [sys.executable, "-m", "tfopt", "search", str(recipe), "--out", str(out), *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, **pipes)


def end(process):
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, out + error[-3000:]
    return out


def wait_for(moment, *processes):
    limit = time.monotonic() + 300
    while not moment():
        assert time.monotonic() < limit
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def candidates(out):
    return {path.name for path in (out / "searched").glob("search.partial/candidates/*.tflite")}


def test_processes_come_and_go_and_whoever_holds_the_folder_leads(tmp_path):
    recipe, out = written(tmp_path, SEARCH), tmp_path / "out"
    leader, helper = start(recipe, out), None
    wait_for(lambda: (out / "searched" / "search.partial").exists(), leader)
    helper = start(recipe, out)
    wait_for(lambda: len(candidates(out)) >= 3, leader, helper)
    leader.send_signal(signal.SIGKILL)
    leader.communicate()
    third = start(recipe, out)
    for process in (helper, third):
        end(process)
    artifact = Artifact.read(out / "searched" / "search")
    found = artifact.details["search"]
    assert len(found["tried"]) == 8 + 2
    assert len({one["number"] for one in found["tried"]}) == 10
    assert artifact.metrics["gzip_bytes"] <= 6000
    assert not list((out / "searched").glob("*.partial"))
    assert not list((out / "searched").glob(".workers*"))


def test_one_command_starts_several_processes(tmp_path):
    recipe, out = written(tmp_path, SEARCH), tmp_path / "out"
    said = end(start(recipe, out, "--workers", "2"))
    assert said.count("[2/3] search: runs") == 1
    assert said.count("\nreport  ") == 1  # one of them shows the result
    tried = [one["number"] for one in Artifact.read(out / "searched" / "search").details["search"]["tried"]]
    assert len(set(tried)) == len(tried) == 10  # which numbers: what both propose at the same time takes two
    numbers = [line.split()[1].rstrip(",") for line in said.splitlines() if line.strip().startswith("candidate ")]
    assert sorted(map(int, numbers)) == sorted(tried)


def test_a_chief_and_its_workers_tune_and_one_of_them_is_killed(tmp_path):
    recipe, out = written(tmp_path, TUNE), tmp_path / "out"
    supervisor = start(recipe, out, "--workers", "2")
    alive = out / "tuned" / "tune.partial" / "tuner" / "alive" / "tuner1"
    wait_for(lambda: alive.exists() and alive.read_text(), supervisor)
    wait_for(lambda: len(list((out / "tuned").glob("tune.partial/tuner/trial_*/model.keras"))) >= 1, supervisor)
    os.kill(int(alive.read_text().split()[0]), signal.SIGKILL)
    said = end(supervisor)
    assert "was ended by SIGKILL: it is started again" in said
    made = json.loads((out / "tuned" / "report.json").read_text())["artifacts"]
    [trials] = [one["details"]["tune"]["trials"] for one in made if one["name"] == "tune"]
    assert [one["status"] for one in trials] == ["COMPLETED"] * 6
    assert (out / "tuned" / "quantize" / "model.tflite").is_file()


def test_a_mistake_in_the_recipe_is_told_once(tmp_path):
    recipe, out = written(tmp_path, SEARCH.replace("6 KB", "300 B")), tmp_path / "out"
    process = start(recipe, out, "--workers", "2")
    said, error = process.communicate(timeout=300)
    assert process.returncode == 2
    assert (said + error).count("no candidate fits gzip_bytes") == 1
    assert not out.exists()

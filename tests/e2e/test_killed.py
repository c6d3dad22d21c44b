"""Runs that are killed at any moment: the same command ends with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfopt.recipe.artifact import BACKUP

ROOT = Path(__file__).parents[2]

SHORT = """
name: short
model: {root}/pipelines/digits.py:build
data: digits
stages:
  - train: {{epochs: 6, batch_size: 64, early_stopping: {{patience: 4}}}}
  - prune: {{sparsity: 0.8, epochs: 4, batch_size: 64}}
  - quantize: {{mode: int8, samples: 50}}
  - verify: {{}}
"""


def command(recipe, out):
    return [sys.executable, "-m", "tfopt", "run", str(recipe), "--out", str(out)]


def run_to_the_end(recipe, out):
    finished = subprocess.run(command(recipe, out), capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def kill_when(recipe, out, moment):
    """Starts a run and kills it, with all it started, once `moment(seconds since the start)` is true."""
    process = subprocess.Popen(
        command(recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
    )
    start = time.monotonic()
    while process.poll() is None and not moment(time.monotonic() - start):
        time.sleep(0.01)
    killed = process.poll() is None
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return killed


@pytest.fixture
def short(tmp_path):
    recipe = tmp_path / "short.yaml"
    recipe.write_text(SHORT.format(root=ROOT))
    return recipe


@pytest.mark.slow
def test_a_run_killed_while_training_and_while_pruning_ends_with_the_same_bytes(short, tmp_path):
    run_to_the_end(short, tmp_path / "whole")
    out = tmp_path / "killed"
    backups = {name: out / "short" / f"{name}.partial" / BACKUP for name in ("train", "prune")}
    for name, epoch in (("train", 2), ("prune", 1)):
        assert kill_when(short, out, lambda _, n=name, e=epoch: any(backups[n].glob(f"epoch-{e:06d}.npz")))
    printed = run_to_the_end(short, out)
    assert "train: reused" in printed
    assert "epoch 1/4" not in printed, "the pruning began anew"
    whole, resumed = ((tmp_path / o / "short" / "quantize" / "model.tflite").read_bytes() for o in ("whole", "killed"))
    assert whole == resumed
    assert not list((out / "short").glob("*.partial"))


@pytest.mark.slow
def test_a_kill_at_a_random_moment_of_each_sixth_of_the_digits_run_leaves_the_same_file(tmp_path):
    shutil.copy(ROOT / "pipelines" / "digits.py", tmp_path)
    text = (ROOT / "pipelines" / "digits.yaml").read_text()
    for given, less in (
        ("epochs: 20", "epochs: 10"),
        ("max_drop: 0.01", "max_drop: 0.9"),
        ("benchmark: {}", "benchmark: {seconds: 0.1}"),
    ):
        assert given in text
        text = text.replace(given, less)
    recipe = tmp_path / "digits.yaml"
    recipe.write_text(text)
    start = time.monotonic()
    run_to_the_end(recipe, tmp_path / "whole")
    length = time.monotonic() - start
    whole = (tmp_path / "whole" / "digits" / "int8" / "model.tflite").read_bytes()
    generator = random.Random(2024)
    for number in range(6):
        out, at = tmp_path / f"killed{number}", 0.05 + 0.9 * (number + generator.random()) / 6
        start = time.monotonic()
        while not kill_when(recipe, out, lambda seconds, moment=at * length: seconds > moment):
            length = time.monotonic() - start  # it was done before its moment: the machine is faster now
            shutil.rmtree(out)
            start = time.monotonic()
        run_to_the_end(recipe, out)
        assert (out / "digits" / "int8" / "model.tflite").read_bytes() == whole, f"killed after {at:.0%} of the run"

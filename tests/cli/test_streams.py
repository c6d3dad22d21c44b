"""A reader that goes away, and a disk that is full, while a command writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.own_stages import COPY_AND_GATE

RECIPE = """name: r
model: model.keras
data: {data}
use: my_stages.py
stages:
  - copy: {name: a}
  - copy: {name: b}
"""
COMMAND = [sys.executable, "-m", "tfopt"]
FULL = Path("/dev/full")


def closed_pipe():
    """A descriptor to write to, from which nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("arguments", [["schema"], ["stages"], ["--help"], ["run", "--help"]], ids=" ".join)
def test_a_reader_that_goes_away_is_no_fault(arguments):
    pipe = closed_pipe()
    ran = subprocess.run([*COMMAND, *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True)
    os.close(pipe)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this machine")
@pytest.mark.parametrize("arguments", [["schema"], ["stages"], ["--help"]], ids=" ".join)
def test_a_full_disk_is_one_line(arguments):
    with FULL.open("w") as full:
        ran = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 1
    assert ran.stderr == "standard output cannot be written: No space left on device.\n"


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this machine")
def test_an_error_that_cannot_be_told_keeps_its_exit_code():
    with FULL.open("w") as full:
        ran = subprocess.run([*COMMAND, "report", "none"], stdout=subprocess.PIPE, stderr=full, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")


@pytest.mark.slow
def test_a_run_goes_on_when_its_reader_goes_away(tmp_path):
    (tmp_path / "my_stages.py").write_text(COPY_AND_GATE)
    (tmp_path / "r.yaml").write_text(RECIPE.replace("{data}", "digits"))
    build = "import keras; keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), "
    build += "keras.layers.Dense(10)]).save('model.keras')"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, env=environment, capture_output=True)
    pipe = closed_pipe()
    ran = subprocess.run(
        [*COMMAND, "run", "r.yaml"], stdout=pipe, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    os.close(pipe)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "saved_models" / "r" / "b" / "model.keras").is_file()
    assert (tmp_path / "saved_models" / "r" / "report.html").is_file()


def test_a_closed_output_is_no_fault():
    ran = subprocess.run(["sh", "-c", '"$0" -m tfopt stages >&-', sys.executable], stderr=subprocess.PIPE, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")

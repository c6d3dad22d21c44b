"""The live display of a run on a terminal: what libraries and a user's code print stays out of it."""

import os
import pty
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PRINT = """
import logging, os, sys, warnings
logging.basicConfig(stream=sys.stderr)
warnings.simplefilter("always")

def noise():
    print("by print")
    logging.getLogger("absl").warning("by a logger")
    warnings.warn("by a warning")
    os.write(1, b"by a descriptor\\n")
    print("by stderr", file=sys.stderr)
"""

RUN = """
from rich.console import Console
from tfopt.output_capture import captured, terminal
from tfopt.report.console import progress

shown = progress(Console(file=terminal()))
with captured():
    noise()
shown.checking()
shown.stage("train", "train", 1, 1)
with captured() as kept:
    noise()
shown.epoch(1, 1, {"loss": 0.5})
shown.close()
with open(sys.argv[1], "w") as file:
    file.write(kept.text())
print("the end")
"""

BAR = """
from tfopt.cli.screen import open_console, progress_bar

with progress_bar(open_console(), "learning rate") as part:
    noise()
    part(0.5)
print("the end")
"""

WORDS = ("by print", "by a logger", "by a warning", "by a descriptor", "by stderr")


def on_terminal(*command):
    """What a command shows on a terminal of its own."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # how Linux ends it
        pass
    finally:
        os.close(ours)
        process.wait()
    return text.decode(errors="replace")


@pytest.mark.parametrize("code", [RUN, BAR], ids=["run", "bar"])
def test_nothing_that_is_printed_meanwhile_comes_between_the_lines_of_the_display(tmp_path, code):
    text = on_terminal(sys.executable, "-c", PRINT + code, str(tmp_path / "kept"))
    assert "the end" in text
    assert [word for word in WORDS if word in text] == []
    if code is RUN:
        kept = (tmp_path / "kept").read_text()
        assert [word for word in WORDS if word not in kept] == []


MODEL = """
import keras


def build():
    print("by print")
    parts = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    return keras.Sequential(parts)
"""
RECIPE = """
name: r
model: model.py:build
data: digits
loss: sparse_categorical_crossentropy
stages: [train: {epochs: 1}, quantize: {}]
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "learning-rate"])
def test_tensorflow_stays_out_of_the_terminal_of_a_run_that_trains(tmp_path, monkeypatch, command):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "r.yaml").write_text(RECIPE)
    out = ["--out", str(tmp_path / "out")] if command == "run" else []
    text = on_terminal(sys.executable, "-m", "tfopt", command, str(tmp_path / "r.yaml"), *out)
    assert ("report" if command == "run" else "learning rate of train") in text
    assert [word for word in ("WARNING", "port.cc", "absl", "by print", "deprecated", "INFO:") if word in text] == []

"""Processes of a test that begin their work together, so that the one that starts slowly finds some left."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(script, *arguments, **environment):
    """A process that runs a script beside a test, which may import tfopt and the tests' modules."""
    own = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own)


def end(process):
    """What it printed; fails with its errors."""
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error[-3000:]
    return out


def gather(folder, count):
    """Waits until `count` processes have called it with that folder; those that come later do not wait."""
    here = folder / "here"
    here.mkdir(exist_ok=True)
    (here / str(os.getpid())).touch()
    while len(list(here.iterdir())) < count:
        time.sleep(0.02)

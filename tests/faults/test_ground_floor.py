"""Faults at every call of what a run writes without TensorFlow, and series of them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults.fork_server import ROOT
from tests.faults.ground_floor import WAYS

# A disk in memory, where there is one: what is looked at is the order of writes, and not the disk.
MEMORY = Path("/dev/shm")
FEW = 12


ALL = 10**9


@pytest.mark.parametrize(
    ("name", "way", "limit"),
    [
        ("results", "calls", FEW),
        ("results", "damages", FEW),
        *(pytest.param("results", way, ALL, marks=pytest.mark.long) for way in WAYS),
        pytest.param("journal", "calls", ALL, marks=pytest.mark.long),  # the lock of a killed process is waited for
    ],
)
def test_a_fault_at_any_call_is_survived(name, way, limit, library, evidence):
    folder = Path(tempfile.mkdtemp(prefix="tfopt-faults-", dir=MEMORY if MEMORY.is_dir() else None))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.ground_floor", name, way, library, folder, str(limit)],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    if way == "disks" and not done.stdout:
        pytest.skip("nothing can be mounted here")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        evidence.add(line["kind"], line["where"], line["problems"], line["points"])
    assert sum(line["points"] for line in lines) >= FEW
    assert not [line for line in lines if line["problems"]]
    shutil.rmtree(folder)

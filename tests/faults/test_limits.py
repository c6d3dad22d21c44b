"""Limits of a machine: descriptors, memory, the clock, a home that cannot be written."""

import os
import resource
import subprocess
import sys

import pytest

from tests.faults import survival
from tests.faults.faults import ClockSet, Limited
from tests.faults.fork_server import ROOT, Finished

pytestmark = pytest.mark.long
NAMES = ["whole", "search", "tune"]
MIB = 2**20


@pytest.mark.parametrize("name", NAMES)
def test_few_descriptors_are_a_line(name, bench, all_hold, some):
    def tried(count):
        return bench.befall("few descriptors", name, f"{count}", lambda out: [Limited(resource.RLIMIT_NOFILE, count)])

    all_hold(tried, some([*range(4, 44)]))


@pytest.mark.parametrize("name", NAMES)
def test_memory_that_runs_out_leaves_nothing_half_done(name, bench, all_hold, some):
    def tried(size):
        """Native code ends its process where it gets no memory, which no line can be made of."""
        return bench.befall(
            "low memory",
            name,
            f"{size} MiB more",
            lambda out: [Limited(resource.RLIMIT_AS, size * MIB)],
            may_die=True,
        )

    all_hold(tried, some([0, 1, 2, 4, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512]))


DAY = 86_400.0


@pytest.mark.parametrize("name", NAMES)
def test_a_clock_that_is_set_changes_no_byte(name, bench, all_hold, some):
    def tried(moved):
        after, seconds = moved
        where = f"to 1970 after {after} looks" if seconds is None else f"by {seconds / DAY:g} days after {after} looks"
        return bench.befall("clock set", name, where, lambda out: [ClockSet(after, seconds)])

    moves = [-DAY, -20 * 365 * DAY, 20 * 365 * DAY, None]
    all_hold(tried, some([(after, seconds) for after in (0, 20, 100) for seconds in moves]))


def test_results_of_the_future_are_results(bench):
    out = bench.new_folder()
    assert bench.run("whole", out).code == 0
    for path in [out, *out.rglob("*")]:
        os.utime(path, (4e9, 4e9))
    finished = bench.run("whole", out)
    assert finished.code == 0
    assert "train: reused" in finished.out
    assert not bench.noted("clock set", "whole", "between runs", bench.rerun("whole", out), out)


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null", ""])
def test_a_home_that_cannot_be_written_is_not_needed(home, bench):
    out = bench.new_folder()
    command = [sys.executable, "-m", "tfopt", *bench.arguments("whole", out)]
    environment = {**os.environ, "HOME": home, "PYTHONPATH": str(ROOT), "KERAS_HOME": f"{home}/.keras"}
    done = subprocess.run(command, cwd=bench.project, env=environment, capture_output=True, text=True)
    wrong = survival.answer(Finished(done.returncode, done.stdout, done.stderr, 0.0)) if done.returncode else []
    assert not bench.noted("no home", "whole", repr(home), wrong + bench.rerun("whole", out), out)

"""Processes that share work: heard, started again, ended together."""

import errno
import subprocess
import sys
import time

import pytest

from tfopt.pipeline.launcher import launch
from tfopt.pipeline.process_pool import ProcessPool

KILLED = """
import os, pathlib, signal, sys
mark = pathlib.Path(sys.argv[1]) / os.environ["NAME"]
count = int(mark.read_text()) if mark.exists() else 0
mark.write_text(str(count + 1))
print(os.environ["NAME"], count, flush=True)
if count < int(sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""
FAILS = """
import os, sys, time
if os.environ["NAME"] == "b":
    sys.exit("no such file")
time.sleep(60)
"""


def force(code, *arguments, restarts=3):
    lines = []
    command = [sys.executable, "-c", code, *map(str, arguments)]
    code = ProcessPool(command, [{"NAME": "a"}, {"NAME": "b"}], lines.append, restarts).run()
    return code, lines


def launch_two(command):
    launch(command, 2)


def pool_of_two(command):
    ProcessPool(command, [{}, {}], print).run()


def test_every_process_has_its_environment_and_is_heard(tmp_path):
    code, lines = force(KILLED, tmp_path, 0)
    assert code == 0
    assert sorted(lines) == ["a 0", "b 0"]


def test_one_that_is_killed_is_started_again(tmp_path):
    code, lines = force(KILLED, tmp_path, 2)
    assert code == 0
    assert {"a 0", "a 1", "a 2", "b 0", "b 1", "b 2"} <= set(lines)
    assert lines.count("process 1 of 2 was ended by SIGKILL: it is started again") == 2


def test_one_that_is_killed_too_often_ends_all(tmp_path):
    code, lines = force(KILLED, tmp_path, 9, restarts=1)
    assert code == 1
    assert lines[-1].endswith("of 2 was ended by SIGKILL once too often")


def test_an_error_ends_all_at_once_and_is_shown_once():
    code, lines = force(FAILS)
    assert code == 1
    assert lines == ["no such file"]


@pytest.mark.parametrize("start", [launch_two, pool_of_two])
def test_what_was_started_ends_where_another_cannot_be(start, monkeypatch):
    real, made = subprocess.Popen, []

    def first_alone(*arguments, **more):
        if made:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        made.append(real(*arguments, **more))
        return made[0]

    monkeypatch.setattr(subprocess, "Popen", first_alone)
    with pytest.raises(OSError, match="temporarily unavailable"):
        start([sys.executable, "-c", "import time; time.sleep(60)"])
    assert made[0].poll() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_a_killed_parent_takes_its_processes_along():
    starts = (
        "from tfopt.pipeline.process_pool import ProcessPool; import sys; ProcessPool(sys.argv[1:], [{}], print).run()"
    )
    waits = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = [sys.executable, "-u", "-c", starts, sys.executable, "-c", waits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 10
    while _runs(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process):
    """Whether a process is there and no zombie, which nobody may be there to collect."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

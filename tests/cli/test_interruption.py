"""Signals: a command ends cleanly, and with it everything that it started."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tfopt.cli.interruption import interrupting_signals, report_interruption
from tfopt.output_capture import captured
from tfopt.subprocesses import ended_at_exit, killing_signal

# A process that starts a worker, and prints its number once that listens.
POOL = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
from tfopt.cli.interruption import interrupting_signals, report_interruption
from tfopt.subprocesses import ended_at_exit, environment_of_child, tied_to_this_process

WORKER = '''
import sys, time
from tfopt.cli.interruption import interrupting_signals, report_interruption
if sys.argv[1] == "deaf":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with interrupting_signals() as received:
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("cleaned up", flush=True)
        sys.exit(report_interruption(received))
'''
with interrupting_signals() as received:
    try:
        command = tied_to_this_process([sys.executable, "-c", WORKER, sys.argv[1]])
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment_of_child())
        with ended_at_exit([worker]):
            worker.stdout.readline()
            print(worker.pid, flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        print(worker.stdout.read().strip(), worker.returncode, flush=True)
        sys.exit(report_interruption(received))
"""


def gone(process, seconds=20):
    """Whether a process, which is no child of this one, ends in so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open(f"/proc/{process}/stat") as state:
                if state.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def pool(kind):
    process = subprocess.Popen(
        [sys.executable, "-c", POOL, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return process, int(process.stdout.readline())


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_the_workers_cleanly_and_is_told_once(number, code, word):
    process, worker = pool("willing")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, f"stopping...\n{word}\n")
    assert out == "cleaned up 143\n"
    assert gone(worker)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["run", "a.yaml"], "interrupted: run the same command to go on\n"),
        (["search", "a.yaml"], "interrupted: run the same command to go on\n"),
        (["inspect", "run"], "interrupted\n"),
        (["clean", "a.yaml"], "interrupted\n"),
        (["convert", "a.keras"], "interrupted\n"),
    ],
)
def test_only_what_can_go_on_says_so(monkeypatch, capsys, command, line):
    monkeypatch.setattr(sys, "argv", ["tfopt", *command])
    assert report_interruption([signal.SIGINT]) == 130
    assert capsys.readouterr().err == line


def test_a_signal_is_answered_at_once_also_where_output_is_captured(capfd):
    with interrupting_signals(), captured() as kept, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert capfd.readouterr().err == "stopping...\n"
    assert kept.text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_worker_ends_with_its_parent_also_where_that_is_killed_and_it_does_not_listen():
    process, worker = pool("deaf")
    process.kill()
    process.communicate()
    assert gone(worker)


def test_a_worker_that_does_not_listen_is_killed(monkeypatch):
    monkeypatch.setattr("tfopt.subprocesses.END_SECONDS", 0.1)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    worker.stdout.readline()
    with pytest.raises(KeyboardInterrupt), ended_at_exit([worker]):
        raise KeyboardInterrupt
    assert worker.returncode == -signal.SIGKILL
    worker.stdout.close()


def test_a_second_sigterm_does_not_interrupt_the_end_and_a_second_ctrl_c_does():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with interrupting_signals() as received:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]


def test_the_handlers_are_given_back_and_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupting_signals() as received:
            os.kill(os.getpid(), signal.SIGTERM)
        assert received == []
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("code", "name"), [(0, None), (1, None), (3, None), (-9, "SIGKILL"), (143, "SIGTERM"), (130, "SIGINT"), (129, None)]
)
def test_what_ended_a_process_is_told_by_its_return_code(code, name):
    assert killing_signal(code) == name

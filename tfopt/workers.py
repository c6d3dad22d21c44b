"""Workers that train as one: those that TF_CONFIG names, and processes on this machine, watched and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tfopt.child import died, tied
from tfopt.errors import InputError

POLL_SECONDS = 0.1
TAIL = 20


def cluster() -> tuple[list[str], int]:
    """The addresses of all workers, and which of them this process is, from TF_CONFIG.

    Raises:
        InputError: TF_CONFIG is not set, or says something else.
    """
    text = os.environ.get("TF_CONFIG", "")
    example = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        if set(jobs) - {"chief", "worker"}:
            raise ValueError("jobs other than chief and worker")
        addresses = [*jobs.get("chief", []), *jobs.get("worker", [])]
        index = int(task["index"]) + (len(jobs.get("chief", [])) if task["type"] == "worker" else 0)
        return addresses, range(len(addresses))[index]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        said = f"Received: {text[:120]!r}." if text else "It is not set."
        raise InputError(
            f"strategy: multi_worker reads TF_CONFIG, such as {example}. {said} On one machine: tfopt run --workers 2.",
            ("runtime", "strategy"),
        ) from error


def role_here() -> str | None:
    """Which part this process has where keras-tuner shares trials: `chief`, `worker`, or None where it is alone.

    Raises:
        InputError: keras-tuner's environment variables are not all there.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    there = [name for name in names if os.environ.get(name)]
    if not there:
        return None
    if missing := [name for name in names if name not in there]:
        raise InputError(f"{there[0]} is set and {missing[0]} is not: keras-tuner takes {', '.join(names)}.")
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def launch(
    command: Sequence[str], count: int, restarts: int = 3, told: Callable[[str], None] = lambda line: None
) -> int:
    """Runs a command in `count` processes that find each other through TF_CONFIG.

    What the first one prints goes where this process prints; what the others print is kept, and shown where one of them
    ended the run. When a worker is lost to a signal, all are ended and started again, and their training goes on after
    its last epoch; an error, which would come again, ends all of them.

    Args:
        command: The program and its arguments.
        count: How many processes.
        restarts: How often to start again.
        told: Is told of each start again.

    Returns:
        The exit code: the first worker's, or that of the worker that was lost once too often.
    """
    for left in range(restarts, -1, -1):
        lost, code, said = _once(command, count)
        killed = died(code)
        if not killed or not left:
            break
        told(f"worker {lost} of {count} was ended by {killed}: all start again, after the last finished epoch")
    if lost and code:  # the first one has said it already
        how = f"was ended by {killed}" if killed else f"ended with exit code {code}"
        sys.stderr.write(f"{said}worker {lost} of {count} {how}\n")
    return 1 if killed else code


def _once(command: Sequence[str], count: int) -> tuple[int, int, str]:
    """One start: the worker that ended it, its exit code, and what that one printed."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        workers = [
            subprocess.Popen(
                tied(command),
                env={**os.environ, "TF_CONFIG": _config(addresses, index)},
                stdout=None if index == 0 else logs[index],
                stderr=None if index == 0 else logs[index],
            )
            for index in range(count)
        ]
        stack.enter_context(ended_with(workers))
        while True:
            codes = [worker.poll() for worker in workers]
            failed = [index for index, code in enumerate(codes) if code]
            if failed or codes[0] is not None:
                break
            time.sleep(POLL_SECONDS)
        if not failed:  # the leader is done: the others are about to be
            with contextlib.suppress(subprocess.TimeoutExpired):
                for worker in workers[1:]:
                    worker.wait(timeout=30)
            return 0, 0, ""
        lost = min(failed, key=lambda index: codes[index] or 0)  # a signal, which is negative, is a cause
        logs[lost].seek(0)
        return lost, codes[lost] or 0, b"".join(logs[lost].readlines()[-TAIL:]).decode(errors="replace")


# Runs beside the process that it watches, which may hang where no Python of it runs.
_WATCH = """
import os, select, signal, sys
process, seconds = int(sys.argv[1]), float(sys.argv[2])
if not select.select([sys.stdin], [], [], seconds)[0]:
    sys.stderr.write(sys.argv[3])
    sys.stderr.flush()
    os.kill(process, signal.SIGKILL)
"""


@contextlib.contextmanager
def ended_after(seconds: float, message: str) -> Iterator[None]:
    """Ends this process, with a message on stderr, where the block takes longer than so many seconds."""
    watch = subprocess.Popen(
        [sys.executable, "-c", _WATCH, str(os.getpid()), str(seconds), f"{message}\n"], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        watch.communicate()  # the end of its input is the end of its watch


@contextlib.contextmanager
def ended_with(workers: Sequence[subprocess.Popen[Any]]) -> Iterator[None]:
    """Ends every worker that still runs after the block, and when this process is told to end."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


def _config(addresses: Sequence[str], index: int) -> str:
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})


def free_ports(count: int) -> list[int]:
    """So many ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

"""A cluster of workers on this machine that find each other through TF_CONFIG, restarted when one is killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from tfopt.subprocesses import (
    ended_at_exit,
    environment_of_child,
    free_ports,
    killing_signal,
    tied_to_this_process,
)

POLL_SECONDS = 0.1
TAIL = 20


def launch(
    command: Sequence[str], count: int, restarts: int = 3, notify: Callable[[str], None] = lambda line: None
) -> int:
    """Runs a command in `count` processes that find each other through TF_CONFIG.

    What the first one prints goes where this process prints; what the others print is kept, and shown where one of them
    ended the run. When a worker is lost to a signal, all are ended and started again, and their training goes on after
    its last epoch; an error, which would come again, ends all of them.

    Args:
        command: The program and its arguments.
        count: Number of processes.
        restarts: How often all of them are started again.
        notify: Called with one line on each restart.

    Returns:
        The exit code of the first worker, or of one that failed; 1 where a worker was killed once too often.
    """
    for left in range(restarts, -1, -1):
        lost, code, said = _once(command, count)
        killed = killing_signal(code)
        if not killed or not left:
            break
        notify(f"worker {lost} of {count} was ended by {killed}: all start again, after the last finished epoch")
    if lost and code:  # the first one has said it already
        how = f"was ended by {killed}" if killed else f"ended with exit code {code}"
        sys.stderr.write(f"{said}worker {lost} of {count} {how}\n")
    return 1 if killed else code


def _once(command: Sequence[str], count: int) -> tuple[int, int, str]:
    """One start: index of the worker that ended it, its exit code, and the last lines that it printed."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        workers: list[subprocess.Popen[bytes]] = []
        stack.enter_context(ended_at_exit(workers))
        for index, log in enumerate(logs):
            worker = subprocess.Popen(
                tied_to_this_process(command),
                env={**environment_of_child(), "TF_CONFIG": _config(addresses, index)},
                stdout=None if index == 0 else log,
                stderr=None if index == 0 else log,
            )
            workers.append(worker)
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


def _config(addresses: Sequence[str], index: int) -> str:
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})

"""Child processes: for native code that aborts instead of raising, and for workers that end with this process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def run(module: str, arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module arguments`, where tfopt is found as it was found here; what it prints is kept."""
    found = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": found, **environment},
        check=False,
    )


def tied_to_this_process(command: Sequence[str]) -> list[str]:
    """A command that Linux kills when the process that starts it is killed; elsewhere it would run on.

    The command asks for that itself: Python code between fork and exec may abort where other threads hold locks.
    """
    if sys.platform != "linux":
        return list(command)
    asks = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "  # PR_SET_PDEATHSIG of prctl(2), SIGKILL
        "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-I", "-S", "-c", asks, str(os.getpid()), *command]


def killing_signal(code: int) -> str | None:
    """The name of the signal that ended a process, from its return code; None where none did."""
    if code >= 0:
        return None
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


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
def killed_after(seconds: float, message: str) -> Iterator[None]:
    """Ends this process, with `message` on stderr, where the block takes longer than `seconds`."""
    watch = subprocess.Popen(
        [sys.executable, "-c", _WATCH, str(os.getpid()), str(seconds), f"{message}\n"], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        watch.communicate()  # the end of its input is the end of its watch


@contextlib.contextmanager
def killed_at_exit(workers: Sequence[subprocess.Popen[Any]]) -> Iterator[None]:
    """Ends every worker that still runs after the block, also where SIGTERM ends this process."""

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


def free_ports(count: int) -> list[int]:
    """Ports of this machine, `count` of them, that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

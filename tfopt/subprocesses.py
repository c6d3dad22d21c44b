"""Child processes: for native code that aborts instead of raising, and for workers that end with this process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# Time for a worker to end by itself when it is asked to.
END_SECONDS = 10.0
# The environment variable with the number of the process that tells how this one ended.
_PARENT = "TFOPT_PARENT"
# Asks for what Linux does with a process whose parent ends, limits its time, and becomes the command.
_TIED = """
import os, sys
parent, seconds = int(sys.argv[1]), int(sys.argv[2])
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    os.getppid() == parent or os._exit(1)
if seconds:
    import resource
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard < 0 else min(seconds, hard), hard))
os.execvp(sys.argv[3], sys.argv[3:])
"""


def run(
    module: str, arguments: Sequence[str], *, cpu_seconds: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module arguments`, where tfopt is found as it was found here; what it prints is kept.

    Args:
        module: The module.
        arguments: Its arguments.
        cpu_seconds: Seconds of the processor's time after which `SIGXCPU` ends it, where there are such limits; 0 for
            no limit.
        **environment: Variables of its environment besides those of this process.
    """
    found = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        tied_to_this_process([sys.executable, "-m", module, *arguments], cpu_seconds),
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": found, **environment},
        check=False,
    )


def tied_to_this_process(command: Sequence[str], cpu_seconds: int = 0) -> list[str]:
    """A command that Linux kills when the process that starts it is killed; elsewhere it would run on.

    The command asks for that itself: Python code between fork and exec may abort where other threads hold locks.

    Args:
        command: The command.
        cpu_seconds: Seconds of the processor's time that it may take, where there are such limits; 0 for no limit.
    """
    if sys.platform != "linux" and (not cpu_seconds or sys.platform == "win32"):
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), str(cpu_seconds), *command]


def end_with_parent(parent: int) -> None:
    """Ends this process, a fork, when its parent ends, however that does; where there is no Linux it runs on.

    Args:
        parent: Number of the process that forked it, which may have ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)
        if os.getppid() != parent:
            os._exit(1)


def killing_signal(code: int) -> str | None:
    """The name of the signal that ended a process, from its return code; None where none did.

    A command of tfopt that SIGTERM or Ctrl-C ended has a return code that says so.
    """
    if code - 128 in (signal.SIGINT, signal.SIGTERM):
        code = 128 - code
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


def environment_of_child() -> dict[str, str]:
    """The environment of this process for one that it starts and tells the end of."""
    return {**os.environ, _PARENT: str(os.getpid())}


def reported_by_parent() -> bool:
    """Whether this process was started with `environment_of_child`, by a process that still runs."""
    return os.environ.get(_PARENT) == str(os.getppid())


def end(workers: Sequence[subprocess.Popen[Any]]) -> None:
    """Asks every worker that still runs to end, by SIGTERM, and kills it if it has not after `END_SECONDS`."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    late = time.monotonic() + END_SECONDS
    for worker in workers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(max(late - time.monotonic(), 0))
    _kill(workers)


def _kill(workers: Sequence[subprocess.Popen[Any]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
        worker.wait()


@contextlib.contextmanager
def ended_at_exit(workers: Sequence[subprocess.Popen[Any]]) -> Iterator[None]:
    """Kills every worker that still runs after the block, or where the block was interrupted or failed, ends it."""
    try:
        yield
    except BaseException:
        end(workers)
        raise
    finally:
        _kill(workers)


def free_ports(count: int) -> list[int]:
    """Ports of this machine, `count` of them, that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

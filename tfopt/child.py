"""A Python process of its own for what may end its process: native code that aborts instead of raising."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


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


def tied(command: Sequence[str]) -> list[str]:
    """A command that Linux kills when the process that starts it is killed; elsewhere it would run on.

    It asks for that itself: Python code between fork and exec may abort where other threads hold locks.
    """
    if sys.platform != "linux":
        return list(command)
    asks = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "  # PR_SET_PDEATHSIG of prctl(2), SIGKILL
        "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-I", "-S", "-c", asks, str(os.getpid()), *command]


def died(code: int) -> str | None:
    """The name of the signal that ended a process, from its return code; None where none did."""
    if code >= 0:
        return None
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"

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


def died(code: int) -> str | None:
    """The name of the signal that ended a process, from its return code; None where none did."""
    if code >= 0:
        return None
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"

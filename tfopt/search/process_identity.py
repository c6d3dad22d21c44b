"""Which process a trial's worker is, and whether it still runs."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path


def this_process() -> str:
    """This process as the storage names it: its machine, its number, and when it was started."""
    return f"{_machine()} {os.getpid()} {_start_ticks(os.getpid())}"


def _machine() -> str:
    """An identifier of this machine and container; host names alone may repeat."""
    boot, spaces = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts += [boot.read_text().strip(), os.readlink(spaces)]
    return "/".join(part.replace(" ", "") for part in parts)


def runs_here(worker: str) -> bool:
    """Whether a process, as `this_process` names it, is one of this machine."""
    return worker.split(" ")[0] == _machine()


def is_alive(worker: str) -> bool:
    """Whether a worker of this machine still runs; another process may have its id by now."""
    _, process, born = worker.split(" ")
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _start_ticks(int(process)) == born


def _start_ticks(process: int) -> str:
    """Start time of a process, in clock ticks since boot; empty where the system does not say."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "dead" if fields[0] in "ZX" else fields[19]

"""Where figures come from: the machine, the versions of the packages, the code that took them, and when."""

import ast
import hashlib
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfopt.recipe.environment import PACKAGES, environment, versions


def taken(code: Path, seconds: float, at: float | None = None) -> dict[str, Any]:
    """What stands beside figures.

    Args:
        code: The file that took them.
        seconds: How long that took.
        at: When it ended, in seconds since 1970; now if not given.
    """
    ended = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return {
        "seconds": round(seconds),
        "date": ended.date().isoformat(),
        "code": digest(code),
        "environment": {"machine": machine(), "versions": installed()},
    }


def digest(code: Path) -> str:
    """The first digits of the digest of a file and of those beside it that it imports, directly or through others."""
    files: dict[Path, bytes] = {}
    queue = [code]
    while queue:
        file = queue.pop()
        if file not in files and file.is_file():
            files[file] = file.read_bytes()
            queue += [file.parent / f"{name}.py" for name in _imported(files[file])]
    return short(b"".join(files[file] for file in sorted(files)))


def _imported(source: bytes) -> Iterator[str]:
    """The names of the modules that a source imports, inside of functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def short(content: bytes) -> str:
    """The first digits of the digest of bytes."""
    return hashlib.sha256(content).hexdigest()[:12]


def machine() -> str:
    """The processor, its cores that this process may use, and the memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = environment()
    return f"{found.get('processor', found['machine'])}, {cores} cores, {memory:.0f} GiB, {platform.system()}"


def installed() -> dict[str, str]:
    """The version of Python and of the packages that are installed."""
    return {"python": platform.python_version(), **versions((*PACKAGES, "optuna", "numpy"))}

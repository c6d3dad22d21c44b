"""What the commands print on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120


def open_console() -> Console:
    """A console on standard output, out of the reach of what captures it."""
    from rich.console import Console

    from tfopt.noise import terminal

    stream = terminal()
    return Console(file=stream) if stream.isatty() else Console(file=stream, width=PIPE_WIDTH, soft_wrap=True)


def near(path: Path) -> Path:
    """The path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

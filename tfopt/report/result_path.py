"""Where a result lies, as the commands that a report prints have it."""

from __future__ import annotations

import shlex
from pathlib import Path


def result_path(run: Path, *parts: str) -> str:
    """The path of something in a run's folder, as a shell takes it.

    Args:
        run: The run's folder.
        parts: The way from there to the file.

    Returns:
        The path from beside the folder of all results, `saved_models/digits/recipe.yaml`: a report has no more of the
        machine that made it.
    """
    return shlex.quote("/".join(filter(None, (run.parent.name, run.name, *parts))))


def results_path(run: Path) -> str:
    """The folder of all results, from beside it, as a shell takes it."""
    return shlex.quote(run.parent.name or ".")

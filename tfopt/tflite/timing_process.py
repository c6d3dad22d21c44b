"""Processes of their own that time `.tflite` files: how they are started, and what they are told."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfopt import subprocesses
from tfopt.errors import ConversionError, TfoptError


def run(module: str, paths: Sequence[Path], seconds: float, threads: int, shapes: Mapping[str, Sequence[int]]) -> Any:
    """Runs a module of this package on files in a fresh process; returns the JSON that it prints.

    Args:
        module: The module, whose `main` reads `arguments`.
        paths: The `.tflite` files.
        seconds: Seconds to run each file.
        threads: CPU threads.
        shapes: Shapes of one sample by input name, for a file that leaves dimensions open.

    Raises:
        ConversionError: The process failed; the error carries its last line.
    """
    sizes = json.dumps({name: list(shape) for name, shape in shapes.items()})
    asked = [*map(str, paths), "--seconds", str(seconds), "--threads", str(threads), "--shapes", sizes]
    finished = subprocesses.run(module, asked)
    if finished.returncode:
        why = finished.stderr.strip().splitlines() or [
            subprocesses.killing_signal(finished.returncode) or "it gave no reason"
        ]
        raise ConversionError(f"LiteRT could not be timed on {', '.join(map(str, paths))}: {why[-1]}")
    return json.loads(finished.stdout.splitlines()[-1])


def arguments(module: str, about: str | None, files: int | str) -> argparse.Namespace:
    """The command line of such a process: `files`, `seconds`, `threads` and `shapes`.

    Args:
        module: The module.
        about: What it does.
        files: How many files it takes, as `argparse` has it: 1 or `+`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("files", metavar="FILE", type=Path, nargs=files)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--shapes", type=json.loads, default={}, help='such as {"image": [32, 32, 3]}')
    return parser.parse_args()


@contextlib.contextmanager
def faults_in_a_line() -> Iterator[None]:
    """Ends such a process with one line on what failed in the block, and exit code 2 where the file is at fault."""
    try:
        yield
    except (TfoptError, OSError, RuntimeError, ValueError) as error:
        first = (str(error).strip().splitlines() or ["no reason was given"])[0]
        sys.stderr.write(f"{first if isinstance(error, TfoptError) else f'{type(error).__name__}: {first}'}\n")
        sys.exit(error.exit_code if isinstance(error, TfoptError) else 1)


def sample_shapes(x: Any, *paths: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of one sample by input name.

    Args:
        x: The inputs `(samples, ...)`, or a dict of such by name; an array alone is that of every input.
        *paths: The `.tflite` files that take it.
    """
    from tfopt.tflite.file import read

    arrays = x if isinstance(x, dict) else dict.fromkeys((name for path in paths for name in read(path).inputs), x)
    return {name: array.shape[1:] for name, array in arrays.items()}

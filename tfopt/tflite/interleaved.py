"""Latency of several files in turns: `python -m tfopt.tflite.interleaved FILE...` measures in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.tflite import timing_process
from tfopt.tflite.benchmark import WARM_UP_RUNS, opened, run_seconds

MODULE = "tfopt.tflite.interleaved"
# Seconds of one turn of a file: long enough for its weights to be in the caches, too short for the machine to change.
TURN_SECONDS = 0.02
# Fewest turns of a file.
TURNS = 10


def measure_in_turns(
    paths: Sequence[Path],
    seconds: float = 1.0,
    threads: int = 1,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[dict[str, float]]:
    """Measures files in turns, so that whatever else the machine does falls on all of them alike.

    Args:
        paths: The `.tflite` files.
        seconds: Seconds to run each file.
        threads: CPU threads.
        shapes: Shapes of one sample by input name, for a file that leaves dimensions open.

    Returns:
        `latency_median_seconds` and `latency_p90_seconds` of each file.

    Raises:
        ConversionError: The process failed; the error carries its last line.
    """
    return timing_process.run(MODULE, paths, seconds, threads, shapes or {})


def _turns(interpreters: Sequence[Any], seconds: float) -> list[np.ndarray]:
    """Seconds of each run, by interpreter; each takes turns until it has run for so many seconds."""
    taken: list[list[float]] = [[] for _ in interpreters]
    for turn in range(max(round(seconds / TURN_SECONDS), TURNS)):
        order = range(len(interpreters)) if turn % 2 else range(len(interpreters) - 1, -1, -1)
        for number in order:
            interpreter = interpreters[number]
            interpreter.invoke()  # its weights come back to the caches
            end = time.perf_counter() + TURN_SECONDS
            while True:
                taken[number].append(run_seconds(interpreter))
                if time.perf_counter() > end:
                    break
    return [np.asarray(one) for one in taken]


def main() -> None:
    """Measures the files named on the command line and prints one line of JSON."""
    arguments = timing_process.arguments(MODULE, __doc__, "+")
    interpreters = [opened(file, arguments.threads, arguments.shapes) for file in arguments.files]
    for interpreter in interpreters:
        for _ in range(WARM_UP_RUNS):
            interpreter.invoke()
    figures = [
        {"latency_median_seconds": float(np.median(one)), "latency_p90_seconds": float(np.quantile(one, 0.9))}
        for one in _turns(interpreters, arguments.seconds)
    ]
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    with timing_process.faults_in_a_line():
        main()

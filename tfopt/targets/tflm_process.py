"""The process in which TFLM runs samples, which it may crash: it loads neither TensorFlow nor LiteRT.

`python -m tfopt.targets.tflm_process FILE SAMPLES.npz OUTPUTS.npz`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfopt import subprocesses
from tfopt.output_capture import captured

ARENA_ALIGNMENT = 16
# Seconds of the processor's time that TFLM may take for one batch: some loops never end there. And those that it may
# take in an arena that is tried, at least, and as a multiple of the longest batch.
CPU_SECONDS = 300
ARENA_SECONDS, ARENA_RUNS = 10, 10
# Timed runs of a file: so many at least, and up to so many or so long.
FEWEST_RUNS, MOST_RUNS, TIMED_NANOSECONDS = 5, 300, 50_000_000


def _infer(
    content: bytes, feeds: Mapping[int, np.ndarray], keeps_state: bool, timed: bool, arena: int | None
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The outputs in the subgraph's order, and what else there is in a `Run`; the arena is searched for if None."""
    from tflite_micro import runtime
    from tflite_micro.python.tflite_micro import _version

    model = runtime.convert_bytearray_to_object(content)
    ample = _ample(model)
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ample)
    places = range(len(model.subgraphs[0].outputs))
    collected: list[list[np.ndarray]] = [[] for _ in places]
    count = len(next(iter(feeds.values())))
    shape = interpreter.get_input_details(next(iter(feeds)))["shape"]
    batch = int(shape[0]) if len(shape) else 1
    seconds = 0.0
    for start in range(0, count, batch):
        _limit(CPU_SECONDS)
        begin = time.process_time()
        if start and not keeps_state:
            interpreter.reset()
        _invoke(interpreter, feeds, np.arange(start, start + batch) % count)  # TFLM takes whole batches only
        seconds = max(seconds, time.process_time() - begin)
        for place in places:
            collected[place].append(interpreter.get_output(place))
    _limit(max(CPU_SECONDS, MOST_RUNS * seconds))
    microseconds = _median_microseconds(interpreter) if timed else 0.0

    def invoke(arena_bytes: int) -> None:
        _invoke(runtime.Interpreter.from_bytes(content, arena_size=arena_bytes), feeds, np.arange(batch) % count)

    if arena is None:
        limit = max(ARENA_SECONDS, ARENA_RUNS * seconds)
        arena = _smallest(lambda size: _survives(lambda: invoke(size), limit), _taken(interpreter), ample)
    told = {"arena_bytes": arena, "microseconds": microseconds, "version": _version.__version__}
    return [np.concatenate(values)[:count] for values in collected], told


def _taken(interpreter: Any) -> int:
    """The bytes of arena that an interpreter has recorded; 0 where it does not tell."""
    with captured() as noise:  # TFLM tells it to the standard error alone
        interpreter.print_allocations()
    taken = re.search(r"allocation total (\d+) bytes", noise.text())
    return int(taken[1]) if taken else 0


def _limit(seconds: float) -> None:
    """Allows this process so many further seconds of the processor's time; no limit where there are none."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))


def _median_microseconds(interpreter: Any) -> float:
    """The median time of a run on the inputs that were set last."""
    times: list[int] = []
    while len(times) < FEWEST_RUNS or (sum(times) < TIMED_NANOSECONDS and len(times) < MOST_RUNS):
        begin = time.perf_counter_ns()
        interpreter.invoke()
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) / 1000


def _invoke(interpreter: Any, feeds: Mapping[int, np.ndarray], chunk: np.ndarray) -> None:
    for place, feed in feeds.items():
        interpreter.set_input(feed[chunk], place)
    interpreter.invoke()


def _ample(model: Any) -> int:
    """An arena size that is surely enough: every tensor of a model twice; untouched bytes cost no memory."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    values = sum(int(np.prod(tensor.shape)) for tensor in tensors if tensor.shape is not None)
    return 2 * 8 * values + 4096 * len(tensors) + 2**20


def _smallest(runs: Callable[[int], bool], taken: int, ample: int) -> int:
    """The smallest arena that runs, searched upwards from the recorded size, as planning takes more temporarily."""
    low, step = taken // ARENA_ALIGNMENT - 2, 1
    while (low + step) * ARENA_ALIGNMENT < ample and not runs((low + step) * ARENA_ALIGNMENT):
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle * ARENA_ALIGNMENT) else (middle, high)
    return high * ARENA_ALIGNMENT


def _survives(action: Callable[[], Any], seconds: float) -> bool:
    """Whether an action succeeds in a fork of this process, in so many seconds of the processor's time.

    An arena too small crashes it, or has it run for ever.
    """
    parent, copy = os.getpid(), os.fork()
    if copy:
        return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 0
    code = 1
    try:
        subprocesses.end_with_parent(parent)
        _limit(seconds)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        action()
        code = 0
    finally:
        os._exit(code)  # the fork has nothing to clean up, and no traceback to print


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the samples named on the command line, writes the outputs, and prints one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m tfopt.targets.tflm_process", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("samples", type=Path, help="an .npz: arrays in the file's own types, by input number")
    parser.add_argument("outputs", type=Path, help="the .npz to write: arrays by output number")
    parser.add_argument("--keep-state", action="store_true", help="the samples are the pieces of one sequence")
    parser.add_argument("--time", action="store_true", help="time runs of one batch")
    parser.add_argument("--arena", type=int, help="the arena, where it is known; searched for, if not given")
    chosen = parser.parse_args(arguments)
    with np.load(chosen.samples) as arrays:
        feeds = {int(place): arrays[place] for place in arrays.files}
    try:
        outputs, told = _infer(chosen.file.read_bytes(), feeds, chosen.keep_state, chosen.time, chosen.arena)
    except (RuntimeError, ValueError, IndexError) as error:
        sys.exit(str(error))
    np.savez(chosen.outputs, **{str(place): values for place, values in enumerate(outputs)})  # type: ignore[arg-type]
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()

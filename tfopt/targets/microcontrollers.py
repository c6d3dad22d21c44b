"""Runs a `.tflite` on TensorFlow Lite for Microcontrollers: its outputs, and the arena that it needs.

TFLM's C++ may end the process that it runs in, so it gets one of its own, which loads neither TensorFlow nor LiteRT:
`python -m tfopt.targets.microcontrollers FILE SAMPLES.npz OUTPUTS.npz`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfopt import subprocesses
from tfopt.errors import ConversionError, InputError
from tfopt.output_capture import captured

ARENA_ALIGNMENT = 16
# Seconds of the processor's time that TFLM may take for the samples of one file: some loops never end there.
CPU_SECONDS = 300
# Files whose arena is remembered.
KEPT_ARENAS = 64
# Timed runs of a file: so many at least, and up to so many or so long.
FEWEST_RUNS, MOST_RUNS, TIMED_NANOSECONDS = 5, 300, 50_000_000
# Messages that follow the reason, or stand where there is none.
_GENERAL = {"TFLM failed to allocate tensors", "Interpreter invocation failed."}

# Index of a tensor among the inputs or outputs of the subgraph, as TFLM counts, and its details.
_End = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """The result of running a file on TFLM.

    Args:
        outputs: Outputs `(samples, ...)` by name, in the float model's units.
        arena_bytes: The smallest tensor arena, in steps of 16, in which the file loads and a sample runs, found by
            trying. It holds activations, scratch buffers, TFLM's own records and what it needs while it plans them.
            The records hold pointers, of 8 bytes here and of 4 on a microcontroller, which so takes less with the same
            kernels; kernels made for one chip have scratch buffers of their own.
        microseconds: Median time of a run of one batch on this machine, with TFLM's portable kernels.
        version: Version of the package tflite-micro, with the commit that it was built from.
    """

    outputs: dict[str, np.ndarray]
    arena_bytes: int
    microseconds: float = 0.0
    version: str = ""


def run(
    source: Path | bytes,
    x: np.ndarray | Mapping[str, np.ndarray],
    arena_bytes: int | None = None,
    keeps_state: bool = False,
) -> Run:
    """Runs samples on TFLM in a fresh process, a batch of the file's size at a time, the state reset before each.

    A file that runs may still give other values than on LiteRT, so compare them: TFLM dequantizes weights that have one
    scale per channel with the first scale alone, and takes the shapes that are written in the file for the true ones.

    Args:
        source: The `.tflite`, or its bytes.
        x: `(samples, ...)`, or a dict of such arrays by the file's input names, in the float model's units.
        arena_bytes: Bytes of the device's tensor arena; no limit if not given.
        keeps_state: Whether the samples are the pieces of one sequence, so that nothing is reset between them.

    Raises:
        InputError: The package `tflite-micro` is not installed.
        ModelError: The source is not a TFLite file.
        DataError: An input is missing or has another shape.
        ConversionError: TFLM cannot run the file, or not in this arena; the error names the op where TFLM does.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        raise InputError("running on TFLM needs the package tflite-micro: pip install 'tfopt[tflm]'.")
    from tfopt.tflite.file import parse
    from tfopt.tflite.interpreter import dequantize, quantize_samples

    content, model = parse(source)
    inputs, outputs = _ends(model)
    feeds = quantize_samples(x, {name: detail for name, (_, detail) in inputs.items()})
    given, told = _child(content, {inputs[name][0]: feed for name, feed in feeds.items()}, keeps_state)
    needed = int(told["arena_bytes"])
    _arena_of(hashlib.sha256(content).digest())[:] = [needed]
    if arena_bytes is not None and needed > arena_bytes:
        raise ConversionError(f"TFLM needs a tensor arena of {needed} bytes for the file. Received: {arena_bytes=}.")
    found = {name: dequantize(given[place], detail) for name, (place, detail) in outputs.items()}
    return Run(found, needed, float(told["microseconds"]), str(told["version"]))


def arena_bytes(source: Path | bytes) -> int:
    """The `Run.arena_bytes` of a file, from a run on zeros if it did not run before: values do not matter to it.

    Raises:
        InputError: The package `tflite-micro` is not installed.
        ModelError: The source is not a TFLite file.
        ConversionError: TFLM cannot run the file.
    """
    from tfopt.tflite.file import parse

    content, model = parse(source)
    if known := _arena_of(hashlib.sha256(content).digest()):
        return known[0]
    ends = {name: detail for name, (_, detail) in _ends(model)[0].items()}
    zeros = {name: np.zeros(detail["shape_signature"], _units(detail)) for name, detail in ends.items()}
    return run(content, zeros).arena_bytes


@functools.lru_cache(maxsize=KEPT_ARENAS)
def _arena_of(digest: bytes) -> list[int]:
    """The arena of a file that ran, as the only entry, by the file's digest; `run` fills it in."""
    return []


def _units(detail: Mapping[str, Any]) -> Any:
    """The type of an input in the float model's units."""
    return np.float32 if detail["quantization"][0] else detail["dtype"]


def _ends(model: Any) -> tuple[dict[str, _End], dict[str, _End]]:
    """The inputs and the outputs by name, in the signature's order; by number where the file has no signature."""
    from tfopt.tflite.file import tensor_details

    graph = model.subgraphs[0]  # TFLM runs the first subgraph
    signature = next((one for one in model.signatureDefs or [] if not one.subgraphIndex), None)
    sides: list[dict[str, _End]] = []
    for side in ("inputs", "outputs"):
        places = [int(index) for index in getattr(graph, side)]
        named = {str(place): index for place, index in enumerate(places)}
        if signature is not None:
            named = {entry.name.decode(): int(entry.tensorIndex) for entry in getattr(signature, side)}
        details = {name: tensor_details(graph.tensors[index]) for name, index in named.items()}
        if odd := [name for name, detail in details.items() if detail["dtype"] is None]:
            raise ConversionError(f"TFLM takes and gives numbers alone. Received: {odd[0]!r} among the {side}.")
        sides.append({name: (places.index(index), details[name]) for name, index in named.items()})
    return sides[0], sides[1]


def _child(
    content: bytes, feeds: Mapping[int, np.ndarray], keeps_state: bool = False
) -> tuple[dict[int, np.ndarray], dict[str, Any]]:
    """The raw outputs by index, and what else there is in a `Run`, from a child process that may crash."""
    # The process forks to try arenas.
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="tfopt-") as folder:
        file, samples, results = (Path(folder, name) for name in ("model.tflite", "samples.npz", "outputs.npz"))
        file.write_bytes(content)
        np.savez(samples, **{str(place): feed for place, feed in feeds.items()})  # type: ignore[arg-type]
        finished = subprocesses.run(
            "tfopt.targets.microcontrollers",
            [str(file), str(samples), str(results), *(["--keep-state"] if keeps_state else [])],
            **one_thread,
        )
        if finished.returncode:
            raise ConversionError(_reason(content, finished.stderr, finished.returncode))
        with np.load(results) as arrays:
            outputs = {int(place): arrays[place] for place in arrays.files}
    return outputs, json.loads(finished.stdout.splitlines()[-1])


def _reason(content: bytes, log: str, code: int) -> str:
    """TFLM's message about the failure, in one line."""
    from tfopt.tflite.file import read

    ops = read(content).ops
    names = ", ".join(dict.fromkeys(op.name for op in ops))
    # Such as "tensorflow/lite/micro/kernels/conv_common.cc:153 filter != nullptr was not true."
    lines = [re.sub(r"^tensorflow/\S*/", "", line.strip()) for line in log.splitlines() if line.strip()]
    if absent := re.search(r"Failed to get registration from op code (\w+)", log):
        return f"TFLM's Python package has no op {absent[1]}; the file's ops: {names}."
    for place, line in enumerate(lines):
        if node := re.match(r"Node (\S+) \(number (\d+)\) failed to (\w+)", line):
            number, cause = int(node[2]), lines[place - 1] if place else f"it failed to {node[3]}."
            # The number counts within one subgraph.
            mine = ops[number] if number < len(ops) and ops[number].name == node[1] else None
            types = f" of {', '.join(tensor.dtype for tensor in mine.inputs)}" if mine else ""
            return f"TFLM cannot run {node[1]}{types}: {cause}"
    said = ([line for line in lines if line not in _GENERAL] or lines or ["it gave no reason."])[-1]
    if (name := subprocesses.killing_signal(code)) == "SIGXCPU":
        return (
            f"TFLM does not come to an end within {CPU_SECONDS} s of computing on a file of the ops {names}: "
            "some loops run for ever there. Of recurrent layers, write recurrent: fused or unrolled."
        )
    if name:
        return f"TFLM crashed ({name}) on a file of the ops {names}: {said}"
    return f"TFLM cannot run a file of the ops {names}: {said}"


def _infer(
    content: bytes, feeds: Mapping[int, np.ndarray], keeps_state: bool = False
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The outputs in the subgraph's order, and what else there is in a `Run`."""
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
    for start in range(0, count, batch):
        if start and not keeps_state:
            interpreter.reset()
        _invoke(interpreter, feeds, np.arange(start, start + batch) % count)  # TFLM takes whole batches only
        for place in places:
            collected[place].append(interpreter.get_output(place))
    microseconds = _median_microseconds(interpreter)
    with captured() as noise:  # TFLM tells it to the standard error alone
        interpreter.print_allocations()
    taken = re.search(r"allocation total (\d+) bytes", noise.text())

    def runs(arena_bytes: int) -> bool:
        return _survives(
            lambda: _invoke(
                runtime.Interpreter.from_bytes(content, arena_size=arena_bytes), feeds, np.arange(batch) % count
            )
        )

    needed = _smallest(runs, int(taken[1]) if taken else 0, ample)
    told = {"arena_bytes": needed, "microseconds": microseconds, "version": _version.__version__}
    return [np.concatenate(values)[:count] for values in collected], told


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


def _survives(action: Callable[[], Any]) -> bool:
    """Whether an action succeeds in a fork of this process; an arena too small crashes it."""
    copy = os.fork()
    if copy:
        return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 0
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        action()
        code = 0
    finally:
        os._exit(code)  # the fork has nothing to clean up, and no traceback to print


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the samples named on the command line, writes the outputs, and prints one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m tfopt.targets.microcontrollers", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("samples", type=Path, help="an .npz: arrays in the file's own types, by input number")
    parser.add_argument("outputs", type=Path, help="the .npz to write: arrays by output number")
    parser.add_argument("--keep-state", action="store_true", help="the samples are the pieces of one sequence")
    chosen = parser.parse_args(arguments)
    with contextlib.suppress(ImportError, ValueError, OSError):  # where there are no such limits, there are none
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    with np.load(chosen.samples) as arrays:
        feeds = {int(place): arrays[place] for place in arrays.files}
    try:
        outputs, told = _infer(chosen.file.read_bytes(), feeds, chosen.keep_state)
    except (RuntimeError, ValueError, IndexError) as error:
        sys.exit(str(error))
    np.savez(chosen.outputs, **{str(place): values for place, values in enumerate(outputs)})  # type: ignore[arg-type]
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()

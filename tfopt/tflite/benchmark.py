"""Size and speed of a `.tflite`: `python -m tfopt.tflite.benchmark FILE` measures in its own process, prints JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.tflite import timing_process

MODULE = "tfopt.tflite.benchmark"
WARM_UP_RUNS = 10
# Percentiles of the latency that are kept, and bins of its histogram.
QUANTILES, BINS = (0, 10, 50, 90, 99, 100), 40


@dataclass(frozen=True)
class Measurement:
    """What was measured of a file.

    Args:
        figures: `raw_bytes`, `gzip_bytes` (level 9), `parameters`, `nonzero_parameters`, `sparsity` (of the kernels),
            `latency_median_seconds`, `latency_p90_seconds`, `latency_p99_seconds`, `peak_memory_bytes` (of the whole
            process) and, on Linux, `model_memory_bytes` (what the file adds to it).
        latency: The spread of the latency: `runs`, `seconds` by quantile, `edges` and `counts` of a histogram up to
            the 99th percentile, and the number of runs `above` it.
    """

    figures: dict[str, float]
    latency: dict[str, Any]


def measure(
    path: Path, threads: int = 1, seconds: float = 1.0, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, float]:
    """The figures of `timed`."""
    return timed(path, threads, seconds, shapes).figures


def timed(
    path: Path, threads: int = 1, seconds: float = 1.0, shapes: Mapping[str, Sequence[int]] | None = None
) -> Measurement:
    """Measures a file in a fresh process, which has loaded nothing but LiteRT.

    Args:
        path: The `.tflite`.
        threads: CPU threads.
        seconds: Seconds to run the file, after a warm-up; at least 30 runs.
        shapes: Shapes of one sample by input name, for a file that leaves dimensions open.

    Raises:
        ConversionError: The process failed; the error carries its last line.
    """
    found = timing_process.run(MODULE, [path], seconds, threads, shapes or {})
    return Measurement(latency=found.pop("latency"), figures=found)


def sizes(path: Path) -> dict[str, float]:
    """The sizes of a file: bytes raw and after gzip -9, parameters in all and not 0, and the sparsity of kernels."""
    from tfopt.tflite.file import read

    summary = read(path)
    return {
        "raw_bytes": summary.bytes,
        "gzip_bytes": summary.gzip_bytes,
        "parameters": summary.parameters,
        "nonzero_parameters": summary.nonzero,
        "sparsity": summary.sparsity,
    }


def _latencies(
    path: Path, threads: int, seconds: float, shapes: Mapping[str, Sequence[int]]
) -> tuple[np.ndarray, dict[str, int]]:
    """Seconds of each run, without copying inputs and outputs; and the peaks of memory."""
    so_far, before = _peak_memory_bytes(), _forget_peak()
    interpreter = opened(path, threads, shapes)
    for _ in range(WARM_UP_RUNS):
        interpreter.invoke()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 30 or (time.perf_counter() < end and len(taken) < 10_000):
        taken.append(run_seconds(interpreter))
    peak = _peak_memory_bytes()
    memory = {"peak_memory_bytes": max(so_far, peak)} | ({"model_memory_bytes": peak - before} if before else {})
    return np.asarray(taken), memory


def run_seconds(interpreter: Any) -> float:
    """Seconds of one run of an interpreter."""
    start = time.perf_counter()
    interpreter.invoke()
    return time.perf_counter() - start


def opened(path: Path, threads: int, shapes: Mapping[str, Sequence[int]]) -> Any:
    """An interpreter of a file with random inputs in it, ready to run.

    Raises:
        ModelError: It is no whole TFLite file.
        RuntimeError, ValueError: LiteRT does not run it; the error has LiteRT's reason.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError):
        from tfopt.tflite.file import read

        read(path)  # a damaged file is said to be one
        raise
    signatures = interpreter.get_signature_list()
    names = next(iter(signatures.values()))["inputs"] if signatures else []
    details = interpreter.get_signature_runner().get_input_details() if signatures else {}
    for name in names:
        detail = details[name]
        if -1 in detail["shape_signature"][1:]:
            if name not in shapes:
                raise ValueError(f"input {name!r} leaves dimensions open: name its shape with --shapes")
            interpreter.resize_tensor_input(detail["index"], [1, *shapes[name]])
    interpreter.allocate_tensors()
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], _sample(generator, detail))
    return interpreter


def _spread(taken: np.ndarray) -> dict[str, Any]:
    """The spread of the latency; the histogram is without the slowest runs, which would be most of its axis."""
    quantiles = {f"p{share}": float(np.quantile(taken, share / 100)) for share in QUANTILES}
    low, high = quantiles["p0"], max(quantiles["p99"], quantiles["p0"] + 1e-9)
    counts, edges = np.histogram(taken, BINS, (low, high))
    above = len(taken) - int(counts.sum())
    return {
        "runs": len(taken),
        "seconds": quantiles,
        "edges": [float(f"{edge:.9g}") for edge in edges],
        "counts": counts.tolist(),
        "above": above,
    }


def _forget_peak() -> int:
    """The memory of the process in bytes, from which its peak is counted from now on; 0 where that is not known."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024
    except (OSError, StopIteration):  # not Linux, or not allowed
        return 0


def _sample(generator: np.random.Generator, detail: Any) -> np.ndarray:
    shape, dtype = detail["shape"], np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return generator.uniform(0, 1, shape).astype(dtype)
    if detail["quantization"][0]:
        return generator.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return np.zeros(shape, dtype)  # token ids: 0 is in every vocabulary


def _peak_memory_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # Linux: the peak of this program alone, where getrusage goes on counting its parent's
        peaks = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(peaks[0][1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Measures the file named on the command line and prints one line of JSON."""
    arguments = timing_process.arguments(MODULE, __doc__, 1)
    [file] = arguments.files
    taken, memory = _latencies(file, arguments.threads, arguments.seconds, arguments.shapes)
    spread = _spread(taken)
    figures = {
        **sizes(file),
        "latency_median_seconds": spread["seconds"]["p50"],
        "latency_p90_seconds": spread["seconds"]["p90"],
        "latency_p99_seconds": spread["seconds"]["p99"],
        **memory,  # noted before the file was read a second time for its sizes
    }
    sys.stdout.write(json.dumps({**figures, "latency": spread}) + "\n")


if __name__ == "__main__":
    with timing_process.faults_in_a_line():
        main()

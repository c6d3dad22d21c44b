"""Fast inference of a `.tflite` on many samples: in batches and on all cores, with the outputs of batch size 1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfopt.data.arrays import Arrays
from tfopt.data.splits import Samples
from tfopt.errors import ConversionError
from tfopt.output_capture import captured
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import parse
from tfopt.tflite.interpreter import Runner, dequantize, quantize_samples
from tfopt.tflite.open_batch import largest_activation, with_open_batch

# Bytes of a core's cache that the largest activation of a batch may take, and the bounds of a batch: below it the
# work around an op shows, above it nothing is gained.
CACHE_BYTES = 1 << 19
NARROWEST, WIDEST = 8, 128
# Samples, from all over the data, on which batched outputs are compared with those of batch size 1.
COMPARED = 16
# Fewest samples for which setting up more interpreters pays.
WORTH_IT = 256


class BatchInterpreter:
    """Runs a `.tflite` on LiteRT over many samples, with inputs and outputs in the float model's units like `Runner`.

    A file of batch size 1 is run in batches where its reshapes allow it and the outputs of some samples prove to be the
    same: to the bit where they are integers.

    Args:
        source: The file, or its bytes.
        workers: Number of parallel interpreters; one per core if not given.

    Raises:
        ModelError: The source is not a TFLite file.
        ConversionError: LiteRT cannot run the file.
    """

    def __init__(self, source: Path | bytes, workers: int | None = None):
        self._content, model = parse(source)
        self._runner = Runner(self._content)
        self._width = _width(largest_activation(model))
        self._model: Any = model
        self._most = workers or (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        self._runs: list[_Run] = []

    def __call__(self, x: Any) -> dict[str, np.ndarray]:
        """Runs samples.

        Args:
            x: `(samples, ...)`, or a dict of such arrays by the file's input names, in the float model's units.

        Returns:
            The outputs by name, each `(samples, ...)`, in float32 where the file's output is quantized.

        Raises:
            DataError: An input is missing or has another shape.
            ConversionError: LiteRT failed while running.
        """
        inputs = self._runner.inputs
        arrays = x if isinstance(x, Mapping) else {next(iter(inputs)): np.asarray(x)}
        counts = {len(arrays[name]) for name in inputs if name in arrays}
        count = max(counts, default=0)
        if count < WORTH_IT or len(counts) > 1 or not set(inputs) <= set(arrays):
            return self._runner(x)
        spread = np.linspace(0, count - 1, COMPARED).astype(int)
        few = quantize_samples({name: np.asarray(arrays[name])[spread] for name in inputs}, inputs)
        runs = self._ready(few, min(self._most, -(-count // NARROWEST)))
        parts = np.array_split(np.arange(count), len(runs))
        own = [{name: arrays[name][rows[0] : rows[-1] + 1] for name in inputs} for rows in parts]
        try:
            with ThreadPoolExecutor(len(runs)) as pool:  # LiteRT lets go of Python's lock while it computes
                found = list(pool.map(lambda run, part: run(quantize_samples(part, inputs)), runs, own))
        except (RuntimeError, ValueError) as error:
            raise ConversionError(f"LiteRT cannot run the file: {str(error).strip().splitlines()[0]}") from error
        return {
            name: dequantize(np.concatenate([part[name] for part in found]), detail)
            for name, detail in self._runner.outputs.items()
        }

    def _ready(self, few: Mapping[str, np.ndarray], count: int) -> list[_Run]:
        """Up to `count` interpreters, batched if that gives the same outputs on the samples."""
        if not self._runs:
            self._runs.append(self._first(few))
        first = self._runs[0]
        with captured():
            while len(self._runs) < count:
                self._runs.append(_Run(first.content, self._runner, first.width))
        return self._runs[:count]

    def _first(self, few: Mapping[str, np.ndarray]) -> _Run:
        """The interpreter that the others are like: of a wide batch, or of the file's own."""
        expected = self._runner.quantized(few)
        for time_major in (False, True):
            model, self._model = self._model or flatbuffer.parse(self._content), None  # which opening changes
            wide, found = _tried(with_open_batch(model, time_major, self._width), few, self._runner, self._width)
            if wide is not None and _same(expected, found):
                return wide
        return _Run(self._content, self._runner, self._runner.batch)


class _Run:
    """A file on LiteRT, run on so many samples at once, in the file's own dtypes.

    Args:
        content: The file.
        runner: The file as it is, for its inputs and outputs.
        width: Samples at once.
    """

    def __init__(self, content: bytes, runner: Runner, width: int):
        self.content, self.width = content, width
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._inputs = {name: detail["index"] for name, detail in runner.inputs.items()}
        self._outputs = {name: detail["index"] for name, detail in runner.outputs.items()}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._stateful = runner.stateful

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count, width, interpreter = len(next(iter(feeds.values()))), self.width, self._interpreter
        self._take({name: (width, *feed.shape[1:]) for name, feed in feeds.items()})
        collected: dict[str, list[np.ndarray]] = {name: [] for name in self._outputs}
        for start in range(0, count, width):
            if self._stateful:
                interpreter.reset_all_variables()
            rows: Any = slice(start, start + width)
            if start + width > count:  # there are always so many
                rows = np.arange(start, start + width) % count
            for name, index in self._inputs.items():
                interpreter.set_tensor(index, feeds[name][rows])
            interpreter.invoke()
            for name, index in self._outputs.items():
                collected[name].append(interpreter.get_tensor(index))
        return {name: np.concatenate(values)[:count] for name, values in collected.items()}

    def _take(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Sets the shapes of the inputs."""
        if shapes == self._shapes:
            return
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._inputs[name], shape)
        self._interpreter.allocate_tensors()
        self._shapes = shapes


def _tried(
    content: bytes, feeds: Mapping[str, np.ndarray], runner: Runner, width: int
) -> tuple[_Run | None, dict[str, np.ndarray] | None]:
    """A file of open batch, and its outputs for a few samples in one batch; None where LiteRT refuses."""
    try:
        with captured():
            run = _Run(content, runner, width)
            return run, run(feeds)
    except (RuntimeError, ValueError):
        return None, None


def _width(activation: int) -> int:
    """How many samples to run at once: as many as a core's cache holds the largest activation of, a power of two."""
    fitting = CACHE_BYTES // activation
    return min(max(1 << max(fitting, 1).bit_length() - 1, NARROWEST), WIDEST)


def _same(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray] | None) -> bool:
    if found is None:
        return False
    for name, values in expected.items():
        if values.shape != found[name].shape:
            return False
        if values.dtype.kind != "f" and not np.array_equal(values, found[name]):
            return False
        if values.dtype.kind == "f" and not np.allclose(
            values, found[name], rtol=1e-5, atol=1e-6 * max(np.abs(values).max(), 1e-30)
        ):
            return False
    return True


def file_outputs(source: Path | bytes, x: Arrays | Samples) -> dict[str, np.ndarray]:
    """A `.tflite` file's outputs on LiteRT by name, each `(samples, ...)`, dequantized."""
    run = BatchInterpreter(source)
    parts = [run(chunk) for chunk in (x.chunks() if isinstance(x, Samples) else [x])]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

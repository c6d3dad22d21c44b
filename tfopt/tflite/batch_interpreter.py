"""Fast inference of a `.tflite` on many samples: in batches and on all cores, with the outputs of batch size 1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tfopt.data.arrays import Arrays
from tfopt.data.splits import Samples
from tfopt.errors import ConversionError
from tfopt.output_capture import captured
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import parse
from tfopt.tflite.interpreter import Runner, dequantize, quantize_samples

# Samples per batch; larger batches are no faster, as they no longer fit a core's cache.
WIDTH = 64
# Samples on which batched outputs are compared with those of batch size 1.
COMPARED = 8
# Fewest samples for which setting up more interpreters pays.
WORTH_IT = 256


class BatchInterpreter:
    """Runs a `.tflite` on LiteRT over many samples, with inputs and outputs in the float model's units like `Runner`.

    A file of batch size 1 is run in batches where its reshapes allow it and the first outputs prove to be the same: to
    the bit where they are integers.

    Args:
        source: The file, or its bytes.
        workers: Number of parallel interpreters; one per core if not given.

    Raises:
        ModelError: The source is not a TFLite file.
        ConversionError: LiteRT cannot run the file.
    """

    def __init__(self, source: Path | bytes, workers: int | None = None):
        self._content = parse(source)[0]
        self._runner = Runner(self._content)
        self._most = workers or (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
        self._opened: bytes | None = None
        self._runs: list[Any] = []

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
        few = quantize_samples({name: arrays[name][:COMPARED] for name in inputs}, inputs)
        runs = self._ready(few, min(self._most, -(-count // WIDTH)))
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

    def _ready(self, few: Mapping[str, np.ndarray], count: int) -> list[Any]:
        """The interpreters for `count` samples, batched if that gives the same outputs on the first samples."""
        if self._opened is None:
            opened = with_open_batch(self._content)
            wide = _same(self._runner.quantized(few), _tried(opened, few, self._runner))
            self._opened = opened if wide else b""
        with captured():
            while len(self._runs) < count:
                new = _Wide(self._opened, self._runner) if self._opened else Runner(self._content).quantized
                self._runs.append(new)
        return self._runs[:count]


class _Wide:
    """A file of open batch on LiteRT, run on `WIDTH` samples at once, in the file's own dtypes."""

    def __init__(self, content: bytes, runner: Runner):
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        for detail in runner.inputs.values():
            self._interpreter.resize_tensor_input(detail["index"], [WIDTH, *detail["shape"][1:]])
        self._interpreter.allocate_tensors()
        self._inputs = {name: detail["index"] for name, detail in runner.inputs.items()}
        self._outputs = {name: detail["index"] for name, detail in runner.outputs.items()}

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(feeds.values())))
        collected: dict[str, list[np.ndarray]] = {name: [] for name in self._outputs}
        for start in range(0, count, WIDTH):
            rows = np.arange(start, start + WIDTH) % count
            self._interpreter.reset_all_variables()
            for name, index in self._inputs.items():
                self._interpreter.set_tensor(index, feeds[name][rows])
            self._interpreter.invoke()
            for name, index in self._outputs.items():
                collected[name].append(self._interpreter.get_tensor(index))
        return {name: np.concatenate(values)[:count] for name, values in collected.items()}


def _tried(content: bytes, feeds: Mapping[str, np.ndarray], runner: Runner) -> dict[str, np.ndarray] | None:
    """The outputs of a few samples in one batch; None where LiteRT refuses."""
    try:
        with captured():
            return _Wide(content, runner)(feeds)
    except (RuntimeError, ValueError):
        return None


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


def with_open_batch(content: bytes) -> bytes:
    """The file with an open batch dimension: 1 becomes -1 in the constant shapes of its reshapes."""
    model = flatbuffer.parse(content)
    for graph in model.subgraphs:
        for op in graph.operators:
            code = model.operatorCodes[op.opcodeIndex]
            if flatbuffer.builtin_operator(code) != schema.BuiltinOperator.RESHAPE or len(op.inputs) < 2:
                continue
            before, after = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
            data = model.buffers[graph.tensors[op.inputs[1]].buffer].data
            if data is None or before.shape is None or after.shape is None or not len(before.shape):
                continue
            shape = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.int32).copy()
            if before.shape[0] == 1 and len(shape) and shape[0] == 1 and (shape != -1).all():
                shape[0] = -1
                model.buffers[graph.tensors[op.inputs[1]].buffer].data = np.frombuffer(shape.tobytes(), np.uint8)
                if op.builtinOptions is not None:
                    op.builtinOptions.newShape = shape
    return flatbuffer.pack(model)


def file_outputs(source: Path | bytes, x: Arrays | Samples) -> dict[str, np.ndarray]:
    """A `.tflite` file's outputs on LiteRT by name, each `(samples, ...)`, dequantized."""
    run = BatchInterpreter(source)
    parts = [run(chunk) for chunk in (x.chunks() if isinstance(x, Samples) else [x])]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

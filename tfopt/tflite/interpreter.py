"""Inference of a `.tflite` on the LiteRT runtime, with inputs and outputs in the float model's units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfopt.data.arrays import add_channel_axis
from tfopt.errors import ConversionError, DataError
from tfopt.output_capture import captured
from tfopt.tflite import flatbuffer
from tfopt.tflite.file import load, parse, whole

# Numbers that are quantized at once, so that all that is done to them is done in a core's cache.
CACHED_NUMBERS = 1 << 16


class Runner:
    """Runs a `.tflite` on LiteRT in batches of its size, with inputs and outputs in the float model's units.

    Args:
        source: The file, or its bytes.
        threads: CPU threads of the interpreter.
        delegate: Whether LiteRT may hand ops to XNNPACK, its default.
        keeps_state: Whether the samples are the pieces of one sequence, for a file that keeps state from run to run;
            else it is reset before each.
        model: The schema object of the bytes, where they are parsed already.

    Raises:
        ModelError: The source is not a TFLite file.
        ConversionError: LiteRT cannot run the file; the error carries LiteRT's reason.
    """

    def __init__(self, source: Path | bytes, threads: int = 1, delegate: bool = True, keeps_state: bool = False):
        content = parse(source)[0] if isinstance(source, Path) else load(source)
        try:
            with captured():
                kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                self._interpreter = Interpreter(
                    model_content=content, num_threads=threads, experimental_op_resolver_type=kind
                )
                self._interpreter.allocate_tensors()
                self._runner = self._interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            parse(content)  # a damaged file is said to be one
            raise ConversionError(f"LiteRT cannot load the file: {str(error).strip().splitlines()[0]}") from error
        # The runner sorts by name; a model's first output is the first of its signature.
        inputs, outputs = self._runner.get_input_details(), self._runner.get_output_details()
        with whole(content):
            taken, given = flatbuffer.signature_names(content)
            self.inputs: dict[str, Any] = {name: inputs[name] for name in taken}
            self.outputs: dict[str, Any] = {name: outputs[name] for name in given}
        first = next(iter(self.inputs.values()))["shape_signature"]
        self.stateful, self._keeps_state = flatbuffer.has_state(content), keeps_state
        self.batch = max(int(first[0]), 1) if len(first) else 1  # -1: of any size

    def __call__(self, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs samples.

        Args:
            x: `(samples, ...)`, or a dict of such arrays by the file's input names, in the float model's units.

        Returns:
            The outputs by name, each `(samples, ...)`, in float32 where the file's output is quantized.

        Raises:
            DataError: An input is missing or has another shape.
            ConversionError: LiteRT failed while running.
        """
        found = self.quantized(quantize_samples(x, self.inputs))
        return {name: dequantize(values, self.outputs[name]) for name, values in found.items()}

    def quantized(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs samples in the file's own dtypes, without quantizing inputs or dequantizing outputs.

        Raises:
            ConversionError: LiteRT failed while running.
        """
        count = len(next(iter(feeds.values())))
        collected: dict[str, list[np.ndarray]] = {name: [] for name in self.outputs}
        for start in range(0, count, self.batch):
            chunk = np.arange(start, start + self.batch) % count  # a file of a fixed batch takes nothing less
            try:
                if self.stateful and not (start and self._keeps_state):  # a fused LSTM keeps its state from run to run
                    self._interpreter.reset_all_variables()
                result = self._runner(**{name: feed[chunk] for name, feed in feeds.items()})
            except (RuntimeError, ValueError) as error:
                raise ConversionError(f"LiteRT cannot run the file: {str(error).strip().splitlines()[0]}") from error
            for name, value in result.items():
                collected[name].append(value)
        return {name: np.concatenate(values)[:count] for name, values in collected.items()}


def quantize_samples(
    x: np.ndarray | Mapping[str, np.ndarray], details: Mapping[str, Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Quantizes samples from the float model's units to the dtypes of a file's inputs.

    Args:
        x: `(samples, ...)`, or a dict of such arrays by the file's input names.
        details: `dtype`, `shape_signature` and `quantization` (scale and zero point) of each input by name.

    Raises:
        DataError: An input is missing or has another shape, or the inputs have different numbers of samples.
    """
    arrays = x if isinstance(x, Mapping) else {next(iter(details)): x}
    if missing := [name for name in details if name not in arrays]:
        raise DataError(f"the file has an input {missing[0]!r}, and the data has only {', '.join(arrays)}.")
    feeds = {
        name: _quantized(
            add_channel_axis(np.asarray(arrays[name]), detail["shape_signature"][1:], f"input {name!r}"), detail
        )
        for name, detail in details.items()
    }
    count = len(next(iter(feeds.values())))
    if count == 0 or any(len(feed) != count for feed in feeds.values()):
        raise DataError(f"every input needs the same number of samples, at least one. Received: {_counts(feeds)}.")
    return feeds


def _counts(feeds: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {len(feed)}" for name, feed in feeds.items())


def _quantized(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    dtype = detail["dtype"]
    if not scale:
        return array.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    found = np.empty(array.shape, dtype)
    rows = max(CACHED_NUMBERS // max(array[:1].size, 1), 1)
    for start in range(0, len(array), rows):
        steps = array[start : start + rows] / np.float32(scale)
        np.rint(steps, out=steps)
        steps += zero_point
        found[start : start + rows] = np.clip(steps, limits.min, limits.max, out=steps)
    return found


def dequantize(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """An output in the float model's units, `scale * (q - zero_point)`; unchanged where it is not quantized."""
    scale, zero_point = detail["quantization"]
    return (array.astype(np.float32) - zero_point) * np.float32(scale) if scale else array

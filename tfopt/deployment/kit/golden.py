"""Golden vectors of a file: inputs, and what the runtime that the file is for gives for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from tfopt.deployment.kit.model import Golden
from tfopt.errors import ConversionError

# Numbers of all vectors together: more of them make a source that no one compiles for a device.
MOST_NUMBERS = 100_000
# What another runtime, or other kernels, may be off by.
STEPS_OF_OTHERS = 1
LITERT = "LiteRT"
MADE_UP = "made up, as no data was given"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Ran:
    """What running a file came to.

    Args:
        golden: The golden vectors.
        arena_bytes: The arena that TFLM needed; None where the file was not run on it.
        reason: Why TFLM does not run the file, as it said itself; empty where it ran, or was not tried.
    """

    golden: Golden
    arena_bytes: int | None = None
    reason: str = ""


def tflm_is_here() -> bool:
    """Whether the package that runs files on TFLM is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def run_golden(
    content: bytes, flashed: bytes | None, samples: Arrays | np.ndarray | None, count: int, words: str, on_tflm: bool
) -> Ran:
    """Runs a file on a few samples, on TFLM too where it is for that.

    Args:
        content: Bytes of the `.tflite` for LiteRT.
        flashed: Bytes of the file that is flashed, whose outputs on TFLM are the golden ones; None for one that only
            its device runs, which computes as TFLM's reference kernels do with the `.tflite` it was made of.
        samples: `(samples, ...)`, or a dict of such by input name, in the float model's units; made up if not given.
        count: How many vectors at most.
        words: Where the samples are from.
        on_tflm: Whether to run the file on TFLM.

    Raises:
        ConversionError: LiteRT cannot run the file.
        DataError: The samples do not fit the file.
    """
    from tfopt.targets import microcontrollers
    from tfopt.tflite.interpreter import Runner, quantize_samples

    runner = Runner(content)
    given = samples if samples is not None else made_up(runner.inputs, count * runner.batch)
    feeds = quantize_samples(given, runner.inputs)
    vectors = _fitting(feeds, runner.batch, count)
    taken = np.arange(vectors * runner.batch) % len(next(iter(feeds.values())))  # a file takes whole batches alone
    feeds = {name: values[taken] for name, values in feeds.items()}
    outputs = runner.quantized(feeds)
    inputs = _by_vector(feeds, runner.batch)
    words = words if samples is not None else MADE_UP
    litert = Golden(inputs, _by_vector(outputs, runner.batch), LITERT, words, STEPS_OF_OTHERS)
    if not on_tflm:
        return Ran(litert)
    try:
        run = microcontrollers.run(content if flashed is None else flashed, _taken(given, taken))
    except ConversionError as error:
        return Ran(litert, reason="" if flashed is None else str(error).rstrip("."))
    named = {name: _steps(run.outputs[name], detail) for name, detail in runner.outputs.items()}
    difference = _difference(outputs, named)
    outputs = _by_vector(named, runner.batch)
    if flashed is None:
        kernels = f"{_kernels()} of model.tflite"
        return Ran(Golden(inputs, outputs, kernels, words, STEPS_OF_OTHERS, difference))
    return Ran(Golden(inputs, outputs, _kernels(), words, 0, difference), run.arena_bytes)


def made_up(details: Mapping[str, Mapping[str, Any]], count: int) -> dict[str, np.ndarray]:
    """Inputs by name in the float model's units, from a seed: all over the grid of one that is quantized.

    Ids are 0 or 1, which a table of two rows has too.
    """
    generator = np.random.default_rng(0)
    found = {}
    for name, detail in details.items():
        shape = (count, *(max(int(size), 1) for size in detail["shape_signature"][1:]))
        scale, zero_point = detail["quantization"]
        dtype = np.dtype(detail["dtype"])
        if scale:
            limits = np.iinfo(dtype)
            steps = generator.integers(limits.min, limits.max + 1, shape)
            found[name] = ((steps - zero_point) * scale).astype(np.float32)
        elif dtype.kind == "f":
            found[name] = generator.normal(size=shape).astype(dtype)
        else:
            found[name] = generator.integers(0, 2, shape).astype(dtype)
    return found


def _fitting(feeds: Arrays, batch: int, count: int) -> int:
    """How many whole vectors there are to take, at least one."""
    have = len(next(iter(feeds.values()))) // batch
    each = sum(values[:1].size for values in feeds.values()) * batch
    return max(min(have, count, MOST_NUMBERS // max(each, 1)), 1)


def _kernels() -> str:
    """TFLM's runtime in words, with its release."""
    return f"TFLM's reference kernels (tflite-micro {version('tflite-micro')})"


def _taken(samples: Arrays | np.ndarray, rows: np.ndarray) -> Arrays | np.ndarray:
    if isinstance(samples, Mapping):
        return {name: np.asarray(values)[rows] for name, values in samples.items()}
    return np.asarray(samples)[rows]


def _by_vector(arrays: Arrays, batch: int) -> dict[str, np.ndarray]:
    """Arrays `(samples, ...)` as `(vectors, batch, ...)`."""
    return {name: values.reshape(-1, batch, *values.shape[1:]) for name, values in arrays.items()}


def _steps(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """Numbers of the model that a file's integers stand for as those integers: a float32 tells all of 16 bits apart."""
    scale, zero_point = detail["quantization"]
    if not scale:
        return values
    return (np.rint(values / np.float32(scale)) + zero_point).astype(detail["dtype"])


def _difference(litert: Arrays, tflm: Arrays) -> int | None:
    """The largest difference of integers; None where all outputs are floats."""
    found = [
        int(np.abs(litert[name].astype(np.int64) - tflm[name].astype(np.int64)).max(initial=0))
        for name in litert
        if litert[name].dtype.kind in "iu"
    ]
    return max(found, default=None)

"""Runs a `.tflite` on TensorFlow Lite for Microcontrollers: its outputs, and the arena that it needs.

TFLM's C++ may end the process that it runs in, so it gets one of its own, which is `tflm_process`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfopt import subprocesses
from tfopt.errors import ConversionError, InputError
from tfopt.targets import tflm_process
from tfopt.targets.memo import Memo, UnfinishedError
from tfopt.targets.tflm_process import CPU_SECONDS

# Bytes that a remembered arena counts for, with the digest of its file.
_ENTRY_BYTES = 1024
# What makes ops that TFLM does not have, and the way out.
_MASKS = "Leave the mask out, and pad as in training."
# The comparison that a mask begins with.
_OF_MASKS = "NOT_EQUAL"
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
        microseconds: Median time of a run of one batch on this machine, with TFLM's portable kernels; 0 where it was
            not asked for.
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
    timed: bool = False,
) -> Run:
    """Runs samples on TFLM in a fresh process, a batch of the file's size at a time, the state reset before each.

    A file that runs may still give other values than on LiteRT, so compare them: TFLM dequantizes weights that have one
    scale per channel with the first scale alone, and takes the shapes that are written in the file for the true ones.

    Args:
        source: The `.tflite`, or its bytes.
        x: `(samples, ...)`, or a dict of such arrays by the file's input names, in the float model's units.
        arena_bytes: Bytes of the device's tensor arena; no limit if not given.
        keeps_state: Whether the samples are the pieces of one sequence, so that nothing is reset between them.
        timed: Whether runs of one batch are timed, which takes up to a few hundred more.

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
    digest = hashlib.sha256(content).digest()
    known = _arena_of(digest)
    asked = [*(["--keep-state"] if keeps_state else []), *(["--time"] if timed else [])]
    asked += [] if known is None else [f"--arena={known}"]
    given, told = _child(content, {inputs[name][0]: feed for name, feed in feeds.items()}, asked)
    needed = int(told["arena_bytes"])
    _ARENAS.keep(digest, needed)
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

    def on_zeros() -> int:
        ends = {name: detail for name, (_, detail) in _ends(model)[0].items()}
        zeros = {name: np.zeros(detail["shape_signature"], _units(detail)) for name, detail in ends.items()}
        return run(content, zeros).arena_bytes

    return _ARENAS.of(hashlib.sha256(content).digest(), on_zeros)


# The arenas of files that ran, by the file's digest, and the refusals of those that did not on zeros.
_ARENAS: Memo[int] = Memo(lambda arena: _ENTRY_BYTES)


def _arena_of(digest: bytes) -> int | None:
    """The arena of a file that ran; None for one that did not, of which other samples may tell more."""
    with contextlib.suppress(ConversionError):
        return _ARENAS.known(digest)
    return None


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
    content: bytes, feeds: Mapping[int, np.ndarray], asked: Sequence[str]
) -> tuple[dict[int, np.ndarray], dict[str, Any]]:
    """The raw outputs by index, and what else there is in a `Run`, from a child process that may crash."""
    with tempfile.TemporaryDirectory(prefix="tfopt-") as folder:
        file, samples, results = (Path(folder, name) for name in ("model.tflite", "samples.npz", "outputs.npz"))
        file.write_bytes(content)
        np.savez(samples, **{str(place): feed for place, feed in feeds.items()})  # type: ignore[arg-type]
        finished = subprocesses.run(
            tflm_process.__name__,
            [str(file), str(samples), str(results), *asked],
            OPENBLAS_NUM_THREADS="1",  # it forks to try arenas
            OMP_NUM_THREADS="1",
        )
        if finished.returncode:
            ended = UnfinishedError if finished.returncode < 0 else ConversionError
            raise ended(_reason(content, finished.stderr, finished.returncode))
        with np.load(results) as arrays:
            outputs = {int(place): arrays[place] for place in arrays.files}
    return outputs, json.loads(finished.stdout.splitlines()[-1])


def way_without(absent: str, ops: Iterable[str]) -> str:
    """What makes an op that TFLM does not have, and the way out; empty where that is not known.

    Args:
        absent: The op.
        ops: All ops of the file.
    """
    if absent == "REDUCE_ANY":
        return f"A Masking layer makes it, and masks in recurrent layers need more such ops. {_MASKS}"
    if absent != "SELECT":
        return ""
    if _OF_MASKS in ops:
        return f"An Embedding makes it, as masks do (mask_zero, Masking). Look ids up outside of the model. {_MASKS}"
    return "An Embedding makes it. Look ids up outside of the model."


def _reason(content: bytes, log: str, code: int) -> str:
    """TFLM's message about the failure, in one line."""
    from tfopt.tflite.file import read

    ops = read(content).ops
    names = ", ".join(dict.fromkeys(op.name for op in ops))
    # Such as "tensorflow/lite/micro/kernels/conv_common.cc:153 filter != nullptr was not true."
    lines = [re.sub(r"^tensorflow/\S*/", "", line.strip()) for line in log.splitlines() if line.strip()]
    if absent := re.search(r"Failed to get registration from op code (\w+)", log):
        way = way_without(absent[1], [op.name for op in ops])
        return f"TFLM's Python package has no op {absent[1]}; the file's ops: {names}.{way and f' {way}'}"
    for place, line in enumerate(lines):
        if node := re.match(r"Node (\S+) \(number (\d+)\) failed to (\w+)", line):
            number, cause = int(node[2]), lines[place - 1] if place else f"it failed to {node[3]}."
            # The number counts within one subgraph.
            mine = ops[number] if number < len(ops) and ops[number].name == node[1] else None
            types = f" of {', '.join(tensor.dtype for tensor in mine.inputs)}" if mine else ""
            return f"TFLM cannot run {node[1]}{types}: {cause}"
    said = ([line for line in lines if line not in _GENERAL] or lines or ["it gave no reason."])[-1]
    if (name := subprocesses.killing_signal(code)) == "SIGXCPU":
        loops = "some loops run for ever there. Write recurrent: fused or unrolled."
        way = (
            loops if any(op.name == "WHILE" for op in ops) else "it is too slow for this machine. Take a smaller model."
        )
        return f"TFLM takes longer than {CPU_SECONDS} s of computing for one batch of a file of the ops {names}: {way}"
    if name:
        return f"TFLM crashed ({name}) on a file of the ops {names}: {said}"
    return f"TFLM cannot run a file of the ops {names}: {said}"

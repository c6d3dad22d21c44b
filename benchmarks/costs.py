"""What a finished file costs on LiteRT, on TFLM and on an Ethos-U, and the tables of several benchmarks."""

import tempfile
from pathlib import Path

import numpy as np

from tfopt.errors import ConversionError, TfoptError
from tfopt.recipe.decode import Decode
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS
from tfopt.targets import microcontrollers
from tfopt.targets.decoding.decoded_file import decoded
from tfopt.tflite.benchmark import measure, sizes
from tfopt.tflite.interleaved import measure_in_turns

SHOWN = 4
DIGITS = {"metric": 4, "accuracy": 4, " ms": 3, " dB": 1}


def litert(content, repeats=3):
    """Microseconds of a run on LiteRT, the least of the medians of several processes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(content)
        found = [measure(file, seconds=0.5)["latency_median_seconds"] for _ in range(repeats)]
    return {"LiteRT us": 1e6 * min(found)}


def tflm(content, x, decodings=None):
    """Flash, arena and microseconds on TFLM, with its portable kernels and on this machine.

    Args:
        content: Bytes of the file.
        x: Samples, of which a few are run.
        decodings: Settings, by what the table calls them, of files with kernels that are decoded, whose outputs have to
            be those of the plain one.
    """
    plain = microcontrollers.run(content, x[:SHOWN], timed=True)
    found = _named("TFLM", content, plain)
    for words, settings in (decodings or {}).items():
        small = decoded(content, settings).content
        run = plain if small == content else microcontrollers.run(small, x[:SHOWN], timed=True)
        if not all(np.array_equal(plain.outputs[name], run.outputs[name]) for name in plain.outputs):
            raise AssertionError("the file with decoded kernels computes something else")
        found |= _named(words, small, run)
    return found


def everywhere(path, reference, x, accelerators, decode=True, turns=3):
    """What a file costs wherever the tools are installed, and what it costs beside a reference.

    Args:
        path: The `.tflite`.
        reference: The `.tflite` that it is timed and weighed against.
        x: Samples, of which a few are run on TFLM.
        accelerators: Names of Ethos-U targets.
        decode: Whether TFLM is measured with decoded kernels too.
        turns: How many times both files are timed in turns, each time in a process of its own.

    Returns:
        The figures by name, and why those that are missing are.
    """
    content, plain, notes = path.read_bytes(), sizes(reference), []
    found = {name: sizes(path)[f"{name}_bytes"] for name in ("raw", "gzip")}
    found |= {f"{name} ratio": found[name] / plain[f"{name}_bytes"] for name in ("raw", "gzip")}
    takers = [lambda: tflm(content, x, {"decoded": Decode()} if decode else None)]
    takers += [lambda target=target: ethos_u(content, target) for target in accelerators]
    for take in takers:
        try:
            found |= take()
        except TfoptError as error:
            notes.append(str(error))
    pairs = [[one["latency_median_seconds"] for one in measure_in_turns([reference, path])] for _ in range(turns)]
    found["LiteRT us"] = 1e6 * min(own for _, own in pairs)
    found["time ratio"] = float(np.median([own / other for other, own in pairs]))
    return found, notes


def _named(words, content, run):
    return {f"{words} flash": len(content), f"{words} arena": run.arena_bytes, f"{words} us": run.microseconds}


def ethos_u(content, target):
    """Vela's estimate for a file; the accelerator has to run all of it, as what the CPU takes is not in the figures."""
    words = target.removeprefix("ethos-").upper()
    cost = TARGETS[target].cost(content, Export(target=target))
    if left := sum(bool(operator.on_cpu) for operator in cost.operators):
        raise ConversionError(f"{target} leaves {left} of {len(cost.operators)} operators to the CPU.")
    found = cost.figures
    return {
        f"{words} weights": found["encoded_weight_bytes"],
        f"{words} compiled": found["compiled_bytes"],
        f"{words} cycles": found["total_cycles"],
        f"{words} NPU cycles": found["npu_cycles"],
        f"{words} ms": found["npu_milliseconds"],
    }


def show(files):
    """A table of the figures of files, a line for each figure."""
    names = list(dict.fromkeys(name for found in files.values() for name in found))
    print_table(list(files), {name: [_said(name, found.get(name)) for found in files.values()] for name in names})


def print_table(columns, rows):
    """Lines of cells under the names of their columns, aligned."""
    width, widths = max(map(len, rows)), [max(len(name), 8) for name in columns]
    for name, cells in {"": columns, **rows}.items():
        print(f"{name:<{width}}", *(f"{cell:>{room}}" for cell, room in zip(cells, widths, strict=True)), sep="  ")
    print(flush=True)


def _said(name, value):
    if value is None:
        return "-"
    digits = next((count for words, count in DIGITS.items() if words in name), 0)
    return f"{value:,.{digits}f}"

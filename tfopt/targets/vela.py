"""Vela, Arm's compiler for Ethos-U: what it makes of a `.tflite`, and what it estimates that to cost.

It runs as a process of its own, which an unexpected file may crash. It calls operators by the names of tensors, which a
finished file has none of: the tensors of the file that it is given are named by their numbers.

References:
    Vela's options and performance estimates, gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela.
"""

from __future__ import annotations

import csv
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tfopt import subprocesses
from tfopt.errors import ConversionError, TargetError
from tfopt.recipe.device_cost import OperatorCost
from tfopt.targets.memo import Memo, UnfinishedError

PACKAGE, DISTRIBUTION, MODULE = "ethosu", "ethos-u-vela", "ethosu.vela"
# Seconds of the processor's time that Vela may take for a file; large ones take minutes.
CPU_SECONDS = 1800
# What the ops of `no_int4_on` have in common there.
NO_INT4 = "takes no kernels of 4 bits: Vela crashes on them"
_CONFIGS = "Arm/vela.ini"
_NUMBERED = re.compile(r"t(\d+)(?!\d)")
# Such as "Warning (supported operators) operator: NEG, ofm: 't12'", and a line with the reason after it.
_UNSUPPORTED = re.compile(r"operator: (\w+), ofm: '([^']*)'\s*\nReason: (.+)")
_TENSOR_IN_BRACKETS = re.compile(r"\s*\(t\d+\w*\)")
_KIBIBYTE = 1024.0


@dataclass(frozen=True)
class Hardware:
    """The hardware that Vela compiles for.

    Args:
        accelerator: Accelerator and multipliers, such as `ethos-u55-128`.
        system: Name of Vela's system configuration: the clock, the memories and their speeds.
        memory: Name of Vela's memory mode: which memory holds weights and which activations.
    """

    accelerator: str
    system: str
    memory: str


@dataclass(frozen=True)
class Compilation:
    """A file compiled by Vela.

    Args:
        content: Bytes of the compiled file.
        figures: Vela's estimates by metric name.
        operators: The cost of each operator.
    """

    content: bytes = field(repr=False)
    figures: Mapping[str, float]
    operators: tuple[OperatorCost, ...]


# A file is checked, converted, measured and compared.
_COMPILED: Memo[Compilation] = Memo(lambda made: len(made.content))


def compiled(content: bytes, hardware: Hardware) -> Compilation:
    """Compiles a file, once in a process for the same file and hardware.

    Args:
        content: Bytes of a `.tflite`.
        hardware: What to compile it for.

    Raises:
        ModelError: The content is not a TFLite file.
        ConversionError: Vela refuses the file or crashes on it, or its accelerator would run none of it.
    """
    digest = hashlib.sha256(content).digest()
    return _COMPILED.of((digest, hardware), lambda: _compile(content, hardware))


def _compile(content: bytes, hardware: Hardware) -> Compilation:
    _check(content, hardware)
    with tempfile.TemporaryDirectory(prefix="tfopt-") as folder:
        file = Path(folder, "model.tflite")
        file.write_bytes(numbered(content))
        arguments = [
            *(str(file), "--accelerator-config", hardware.accelerator, "--config", _CONFIGS),
            *("--system-config", hardware.system, "--memory-mode", hardware.memory),
            *("--output-dir", folder, "--verbose-performance", "--show-cpu-operations"),
        ]
        finished = subprocesses.run(MODULE, arguments, cpu_seconds=CPU_SECONDS)
        made = Path(folder, "model_vela.tflite")
        if finished.returncode or not made.is_file():
            ended = UnfinishedError if finished.returncode < 0 else ConversionError
            raise ended(_refusal(finished.stderr or finished.stdout, finished.returncode, hardware))
        summary = next(_rows(Path(folder), "*_summary_*.csv"))
        operators = operator_costs(_rows(Path(folder), "*_per-layer.csv"), reasons(finished.stdout))
        compiled_file = made.read_bytes()
    if not float(summary["cycles_npu"]):
        why = next((f": {one.on_cpu}" for one in operators if one.on_cpu), "")
        raise TargetError(
            f"target {hardware.accelerator} would run nothing of the file, and the CPU all of it{why}. "
            "Take mode int8 or int16x8."
        )
    figures = MappingProxyType(_figures(summary, len(compiled_file)))
    return Compilation(compiled_file, figures, tuple(operators))


def numbered(content: bytes) -> bytes:
    """A file without what no runtime reads, with the tensors of its first graph named by their numbers: t0, t1, ..."""
    from tfopt.tflite import flatbuffer

    model = flatbuffer.parse(flatbuffer.slim(content))
    for place, graph in enumerate(model.subgraphs):
        for number, tensor in enumerate(graph.tensors):
            tensor.name = f"t{number}" if place == 0 else f"graph{place}.{number}"
    return flatbuffer.pack(model)


def _check(content: bytes, hardware: Hardware) -> None:
    """Refuses what Vela dies of without a word."""
    from tfopt.tflite.file import read

    if any(tensor.dtype == "INT4" for tensor in read(content).tensors):
        raise TargetError(f"target {hardware.accelerator} {NO_INT4}. Take mode int8.")


def _refusal(log: str, code: int, hardware: Hardware) -> str:
    """What Vela said before it ended, in one line."""
    name = subprocesses.killing_signal(code)
    if name == "SIGXCPU":
        return (
            f"Vela takes longer than {CPU_SECONDS} s of computing for the file for {hardware.accelerator}. Take a "
            "smaller model, or another target."
        )
    if name:
        return f"Vela crashed ({name}) on the file for {hardware.accelerator}. Take another mode or other layers."
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["it gave no reason"]
    said = next((line for line in reversed(lines) if "rror" in line), lines[-1])
    said = re.sub(r"^[\w.]*Error: ", "", said).strip("'\" ").removeprefix("Error: ").rstrip(".")
    return f"Vela does not compile the file for {hardware.accelerator}: {said}."


def _rows(folder: Path, pattern: str) -> Iterator[dict[str, str]]:
    for path in folder.glob(pattern):
        with path.open(newline="") as file:
            yield from csv.DictReader(file)


def _figures(summary: Mapping[str, str], compiled_bytes: int) -> dict[str, float]:
    """Vela's summary by the names of metrics. Its own figure for flash leaves the command stream out."""
    figures = {
        "encoded_weight_bytes": float(summary["total_npu_encoded_weights"]),
        "compiled_bytes": float(compiled_bytes),
        "sram_bytes": float(summary["sram_memory_used"]) * _KIBIBYTE,
        "dram_bytes": float(summary["dram_memory_used"]) * _KIBIBYTE,
        "npu_cycles": float(summary["cycles_npu"]),
        "total_cycles": float(summary["cycles_total"]),
        "npu_milliseconds": float(summary["inference_time"]) * 1e3,
    }
    return {name: value for name, value in figures.items() if value or name != "dram_bytes"}


def reasons(log: str) -> dict[int, str]:
    """Why operators are left to the CPU, by the number of the output's tensor, as Vela's log has it."""
    found: dict[int, str] = {}
    for _, name, reason in _UNSUPPORTED.findall(log):
        if number := _NUMBERED.match(name):
            text = _TENSOR_IN_BRACKETS.sub("", reason).strip().rstrip(".")
            found.setdefault(int(number[1]), text[:1].lower() + text[1:])
    return found


def operator_costs(rows: Iterable[Mapping[str, str]], on_cpu: Mapping[int, str]) -> list[OperatorCost]:
    """The cost of each operator of a file, in Vela's order.

    Vela runs many an operator in several steps, a row for each, of which the last has the name of the operator's
    output and the others names of Vela's own.

    Args:
        rows: The rows of Vela's table of performance by operator.
        on_cpu: Why operators are left to the CPU, by the number of the output's tensor.
    """
    steps: list[tuple[int | None, Mapping[str, str]]] = []
    last: tuple[str, int | None] = ("", None)
    for row in reversed(list(rows)):
        kind, number = row["Original Operator"], _NUMBERED.match(row["Name"])
        whole = number is not None and number[0] == row["Name"]
        own = int(number[1]) if number else None
        if not whole and kind == last[0]:
            own = last[1]
        last = (kind, own)
        steps.insert(0, (own, row))
    found: dict[tuple[int | None, str], OperatorCost] = {}
    for tensor, row in steps:
        left = row["Target"] == "CPU"
        cycles, key = float(row["Op Cycles"]), (tensor, row["Original Operator"])
        before = found.get(key) or OperatorCost(tensor, key[1])
        total = before.cycles + cycles
        busy = before.mac_utilization * before.cycles + float(row["Util% (MAC)"]) / 100 * cycles
        why = (
            (on_cpu.get(-1 if tensor is None else tensor) or "Vela has no form of it for the accelerator")
            if left
            else ""
        )
        found[key] = OperatorCost(tensor, key[1], total, busy / total if total else 0.0, before.on_cpu or why)
    return list(found.values())

"""What a file costs on a target, in words and as a table by layer."""

from __future__ import annotations

from collections.abc import Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles
from tfopt.recipe.target import TARGETS
from tfopt.report.blocks import Fact, Table
from tfopt.report.units import bytes_, duration

# The title and the form of each figure that targets tell.
FIGURES = {
    "latency_median_seconds": ("median latency", duration),
    "npu_milliseconds": ("time", lambda value: duration(value / 1e3)),
    "total_cycles": ("cycles", "{:,.0f}".format),
    "npu_cycles": ("cycles of the NPU's own", "{:,.0f}".format),
    "flash_bytes": ("flash", bytes_),
    "compiled_bytes": ("compiled file", bytes_),
    "encoded_weight_bytes": ("encoded weights", bytes_),
    "arena_bytes": ("tensor arena", bytes_),
    "sram_bytes": ("SRAM", bytes_),
    "dram_bytes": ("DRAM", bytes_),
    "cpu_operators": ("operators on the CPU", "{:,.0f}".format),
}
LAYERS = ("layer", "operators", "cycles", "of all", "multipliers busy")


def files(artifact: Artifact) -> tuple[DeviceFile, ...]:
    """What targets are given of an artifact."""
    found = artifact.details.of(DeviceFiles)
    return found.files if found else ()


def source(target: str) -> str:
    """Where the figures of a target come from, such as `Vela's estimate`; empty where they are measured."""
    return TARGETS[target].source if target in TARGETS else ""


def named(target: str) -> str:
    """A target with the source of its figures: `ethos-u55-128 (Vela's estimate)`."""
    return f"{target} ({told})" if (told := source(target)) else target


def title(name: str) -> str:
    """The title of a figure."""
    return FIGURES[name][0] if name in FIGURES else name.replace("_", " ")


def text(name: str, value: float) -> str:
    """A figure with its unit."""
    return FIGURES[name][1](value) if name in FIGURES else f"{value:,.6g}"


def words(figures: Mapping[str, float]) -> str:
    """Figures in one line, the most telling first: `time 0.113 ms, cycles 56,681, compiled file 52,144 B`."""
    known = [*(name for name in FIGURES if name in figures), *(name for name in figures if name not in FIGURES)]
    return ", ".join(f"{title(name)} {text(name, figures[name])}" for name in known)


def line(file: DeviceFile) -> str:
    """What a file costs on a target, in one line."""
    return f"on {named(file.target)}: {words(file.figures)}"


def facts(file: DeviceFile) -> list[Fact]:
    """The figures in large type."""
    known = [name for name in FIGURES if name in file.figures]
    return [Fact(title(name), text(name, file.figures[name])) for name in known]


def layer_table(file: DeviceFile) -> Table | None:
    """The cost by layer: cycles, their share of all, and how busy the multipliers are; None where it is not known."""
    if not file.layers:
        return None
    total = sum(layer.cycles for layer in file.layers) or 1.0
    left = any(layer.on_cpu for layer in file.layers)
    rows = []
    for layer in file.layers:
        shares = (f"{layer.cycles:,.0f}", f"{layer.cycles / total:.1%}", f"{layer.mac_utilization:.1%}")
        rows.append((layer.layer, layer.kinds, *([layer.on_cpu or "-"] if left else []), *shares))
    headers = (*LAYERS[:2], *(["on the CPU"] if left else []), *LAYERS[2:])
    return Table(headers, rows, left=3 if left else 2, caption=f"Cost by layer on {named(file.target)}")

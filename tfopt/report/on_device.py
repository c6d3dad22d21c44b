"""What a file costs on a target, in words and as a table by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.details.device_files import DeviceFile, DeviceFiles
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.target import TARGETS, all_figures
from tfopt.report.blocks import Fact, Table
from tfopt.report.units import bytes_, duration

# What the stage benchmark tells of a file besides the figures of targets, before them and after.
_BEFORE = by_name(Figure("latency_median_seconds", "median latency", "seconds", "time"))
_AFTER = by_name(Figure("cpu_operators", "operators on the CPU", "operators", "count", column=False))
# The form of a value by its unit; numbers of cycles and operators are whole.
_FORMS: dict[str, Callable[[float], str]] = {
    "bytes": bytes_,
    "seconds": duration,
    "milliseconds": lambda value: duration(value / 1e3),
    "microseconds": lambda value: duration(value / 1e6),
    "cycles": "{:,.0f}".format,
    "operators": "{:,.0f}".format,
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


def known() -> dict[str, Figure]:
    """Every figure that some target tells of a file, by name, the most telling of each target first."""
    return {**_BEFORE, **all_figures(), **_AFTER}


def figure(name: str) -> Figure:
    """The figure of a name; one made of the name for what no target here has, as in the record of a plug-in's."""
    return known().get(name) or Figure(name, name.replace("_", " "), "", "count")


def title(name: str) -> str:
    """The title of a figure."""
    return figure(name).title


def text(name: str, value: float) -> str:
    """A figure with its unit."""
    return _FORMS.get(figure(name).unit, "{:,.6g}".format)(value)


def words(figures: Mapping[str, float]) -> str:
    """Figures in one line, the most telling first: `NPU time 113 µs, cycles 56,681, compiled file 52,144 B`."""
    return ", ".join(f"{title(name)} {text(name, figures[name])}" for name in _ordered(figures))


def _ordered(figures: Mapping[str, float]) -> list[str]:
    first = [name for name in known() if name in figures]
    return [*first, *(name for name in figures if name not in first)]


def line(file: DeviceFile) -> str:
    """What a file costs on a target, in one line."""
    left = ", without what the CPU runs" if any(layer.on_cpu for layer in file.layers) else ""
    return f"on {named(file.target)}: {words(file.figures)}{left}"


def facts(file: DeviceFile) -> list[Fact]:
    """The figures in large type."""
    return [Fact(title(name), text(name, file.figures[name])) for name in _ordered(file.figures)]


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

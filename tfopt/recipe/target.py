"""Targets: the runtimes and devices that files are made for, and the settings that name them.

Each is a file of its own in `tfopt.targets`, or an entry point of another package.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.errors import InputError
from tfopt.recipe.figure import Figure
from tfopt.recipe.modes import MODES, Mode, Precision
from tfopt.recipe.settings import either
from tfopt.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from tfopt.recipe.device_cost import DeviceCost, FileAudit, Measurement


@dataclass(frozen=True)
class Target:
    """A runtime that a file is made for.

    Settings that its functions take are a `recipe.export.Export`.

    Args:
        name: The name in a recipe.
        about: What the target is, in a few words.
        runs: Whether the target runs a mode correctly.
        refusals: Reasons to refuse settings, sentences without a full stop.
        file_refusals: Reasons to refuse a finished file, sentences without a full stop.
        runs_op: Whether the target runs an op, such as `CONV_2D`, at a precision that the quantizer offers.
        highest_precision: Precision of layers that lose too much in 8 bits.
        measure: Runs a file on samples by input name on the target's own runtime; None where there is none.
        cost: What a finished file costs there, by the target's own tool and without samples; None where there is none.
        stored: The figure `size` of a finished file where that is told without the others, which take longer; None
            where it is not.
        options: What `{name: {option: value}}` chooses: the values of each option, its default first.
        figures: What it tells of a file, by metric name, the most telling first, as `figure.by_name` makes them.
        source: Where the figures of `cost` come from, such as `Vela's estimate`; it stands wherever they do.
        package: Module that the target needs to be measured, such as `tflite_micro`; empty where it needs none.
        distribution: Name under which that package is installed, such as `tflite-micro`; the module's if not given.
        extra: The extra of tfopt that installs it, such as `tflm`.
        suffix: What stands before `.tflite` in the name of the target's own file, such as `vela`.
        decodes: Whether its runtime decodes kernels at every run.
        stream: Runs samples by input name, the pieces of one sequence, on the target's own runtime with its state kept,
            and gives the outputs by name; None where there is none.
        resizes: Whether inputs of an open size, such as images of any height, can be resized there.
        unrolls: Whether a recurrent layer is slower there as one op than in integers as ops for each time step, and in
            float as a loop.
        least_snr_db: Least signal-to-noise ratio of its outputs against LiteRT's, in decibels. Two sets of int8
            kernels round differently; two that compute different things are far below 20.
        size: The figure that is the size of a file there, such as `compiled_bytes`; empty where that is its own.
        time: The figure that is the time of a run there, such as `npu_milliseconds`; empty where LiteRT's does for it.
        coding: For some settings, the function that estimates the bytes of a kernel, as the target stores it, from its
            integers in the order of a file; None where zeros and shared values save nothing there.
        channel_step: Channels that its kernels compute together: numbers of channels in between cost as much.
        patterns: The n of m weights in a row that it computes faster, `(n, m)` each.
        refuses: What it refuses, in a few words.
        rank: Position in lists.
    """

    name: str
    about: str
    runs: Callable[[Mode], bool]
    refusals: Callable[[Any], Iterator[str]] = lambda export: iter(())
    file_refusals: Callable[[FileAudit], Iterator[str]] = lambda audit: iter(())
    runs_op: Callable[[str, str], bool] = lambda op, precision: True
    highest_precision: Precision = "float"
    measure: Callable[[bytes, Mapping[str, np.ndarray]], Measurement] | None = None
    cost: Callable[[bytes, Any], DeviceCost] | None = None
    stored: Callable[[bytes, Any], float] | None = None
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    source: str = ""
    package: str = ""
    distribution: str = ""
    extra: str = ""
    suffix: str = ""
    decodes: bool = False
    stream: Callable[[bytes, Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    resizes: bool = True
    unrolls: bool = False
    least_snr_db: float = 20.0
    size: str = ""
    time: str = ""
    coding: Callable[[Any], Callable[[np.ndarray], float] | None] = lambda export: None
    channel_step: int = 8
    patterns: tuple[tuple[int, int], ...] = ()
    refuses: str = ""
    rank: int = 100

    @property
    def difference(self) -> str:
        """The metric name for the largest difference of its outputs from LiteRT's."""
        return f"{self.name}_max_error"

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that it runs."""
        return tuple(name for name, mode in MODES.items() if self.runs(mode))

    @property
    def version(self) -> str:
        """The version of the package that it needs; empty where it needs none, or where that is not installed."""
        with contextlib.suppress(PackageNotFoundError):
            return version(self.distribution or self.package) if self.package else ""
        return ""

    @property
    def surroundings(self) -> tuple[str, ...]:
        """What its figures and its own files depend on besides settings and code: the package, and its version."""
        return (self.distribution or self.package, self.version) if self.package else ()

    @property
    def installed(self) -> bool:
        """Whether the package that it needs is installed."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def check_installed(self) -> None:
        """Checks that what the target needs is there, before anything is computed.

        Raises:
            InputError: It is not installed.
        """
        if not self.installed:
            way = f"pip install 'tfopt[{self.extra}]'" if self.extra else f"install {self.package}"
            raise InputError(f"target {self.name} needs the package {self.package}: {way}.", ("target",))

    def costs(self, content: bytes, export: Any) -> DeviceCost:
        """What a finished file costs there, by the target's own tool.

        Args:
            content: Bytes of the `.tflite`.
            export: The settings with the target's options.

        Raises:
            ValueError: The target has no such tool.
            InputError: It is not installed.
            ConversionError: The target cannot take the file.
        """
        if self.cost is None:
            raise ValueError(f"target {self.name} has no tool that tells what a file costs")
        self.check_installed()
        return self.cost(content, export)

    def own_file(self, beside: Path) -> Path:
        """Where the target's own file lies beside a `.tflite`, if there is one."""
        return beside.with_name(f"{beside.stem}.{self.suffix or self.name}.tflite")

    def makes_file(self, export: Any) -> bool:
        """Whether a conversion may make a file of the target's own; a target that decodes does where that is asked."""
        return self.cost is not None and bool(self.suffix) and (export.decode is not None or not self.decodes)

    def stored_size(self, content: bytes, export: Any) -> float:
        """The bytes that a finished file takes there, of the figure `size`; its own where the target has no such.

        Raises:
            InputError: The target's tool is not installed.
            ConversionError: The target cannot take the file.
        """
        if self.stored is not None:
            return self.stored(content, export)
        figures = self.costs(content, export).figures if self.cost is not None else {}
        return figures.get(self.size, float(len(content)))

    def wrong_options(self, given: Mapping[str, str]) -> Iterator[str]:
        """What is wrong with options written to the target, sentences without a full stop."""
        for name, value in given.items():
            if name not in self.options:
                known = f"Its options are {', '.join(self.options)}" if self.options else "It has none: write its name"
                yield f"target {self.name} has no option {name!r}. {known}"
            elif value not in self.options[name]:
                yield f"{name} of target {self.name} is {either(self.options[name])}. Received: {value!r}"


# What chooses the `.tflite` itself where a target is asked for.
ITSELF = "tflite"
TARGETS: Registry[Target] = Registry("tfopt.targets", Target, "tfopt.targets")


def similar_targets(word: object) -> list[str]:
    """The targets that a word may mean: written in another way, those of a family, or the nearest; none of others."""
    plain = str(word).lower().replace("_", "-")
    family = [name for name in TARGETS if name == plain or name.startswith(f"{plain}-")]
    return family or difflib.get_close_matches(plain, TARGETS, n=1)


def figure_of(name: str) -> Figure | None:
    """The figure of a name, from the first target that has it; None where none does."""
    return next((target.figures[name] for target in TARGETS.values() if name in target.figures), None)


def all_figures() -> dict[str, Figure]:
    """The figures of all targets by name, in their order; of two of one name that of the first target."""
    found: dict[str, Figure] = {}
    for target in TARGETS.values():
        found = {**found, **{name: figure for name, figure in target.figures.items() if name not in found}}
    return found


def measured_figures() -> dict[str, Figure]:
    """The figures that a target tells of a file without samples, by name."""
    able = {name for target in TARGETS.values() if target.cost is not None for name in target.figures}
    return {name: figure for name, figure in all_figures().items() if name in able}


def measured_on(figure: str) -> str:
    """The targets that measure a figure without samples, in a few words; empty where none does."""
    able = [target.name for target in TARGETS.values() if target.cost is not None and figure in target.figures]
    if not able:
        return ""
    return either(able) if len(able) < 4 else f"{', '.join(able[:3])} and {len(able) - 3} more"

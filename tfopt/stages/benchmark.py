"""Stage `benchmark`."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from tfopt.errors import ConversionError, InputError, ModelError
from tfopt.recipe.artifact import Artifact, Format
from tfopt.recipe.details.detail import Detail
from tfopt.recipe.details.device_files import FileOnTarget, FilesOnTargets
from tfopt.recipe.details.timing import Latencies
from tfopt.recipe.export import Export
from tfopt.recipe.stage import Context, Outlook, Stage
from tfopt.recipe.target import TARGETS
from tfopt.recipe.target_choice import TargetChoice

if TYPE_CHECKING:
    from tfopt.tflite.benchmark import Measurement

LITERT = "litert"
# Samples that a target with a runtime of its own is compared with LiteRT on.
COMPARED = 4
# Characters of a reason in the table.
REASON = 160


def _listed(value: Any) -> Any:
    named = [value] if isinstance(value, str | Mapping | TargetChoice) else value
    if not isinstance(named, list | tuple) or not named:
        raise ValueError(f"is a list of targets, such as [litert, tflm, ethos-u55-128]. Received: {value!r}")
    return named


Targets = Annotated[tuple[TargetChoice, ...], BeforeValidator(_listed)]


class Benchmark(Stage):
    """Measures every `.tflite` made so far: the three sizes; on LiteRT, in a fresh process, latency and memory.

    Latency is of single runs (median, p90, p99 and a histogram); memory is that of the process, and what the file adds
    to it. `python -m tfopt.tflite.benchmark FILE` measures any `.tflite`, on any machine with LiteRT.

    With `targets` each file is held to each of them, in one table that tells which file is best where.
    """

    kind: ClassVar[str] = "benchmark"
    rank: ClassVar[int] = 12
    takes: ClassVar[Format] = "tflite"
    gives: ClassVar[Format] = "tflite"
    gathers: ClassVar[bool] = True

    threads: int = Field(1, ge=1)
    """CPU threads."""
    seconds: float = Field(1.0, gt=0)
    """How long to time each file, after a warm-up."""
    targets: Targets = Field((LITERT,), validate_default=True, json_schema_extra={"minItems": 1})
    """Where each file is measured, such as [litert, tflm, ethos-u55-128], with options as target has them."""

    @field_validator("targets")
    @classmethod
    def _tell_something(cls, targets: tuple[TargetChoice, ...]) -> tuple[TargetChoice, ...]:
        for one in targets:
            if sentence := Export.refusal(target=one.name, target_options=one.options):
                raise ValueError(sentence)
            if one.name != LITERT and one.target.cost is None and one.target.measure is None:
                raise ValueError(f"target {one.name} tells nothing of a file. Leave it out")
        names = [one.name for one in targets]
        if len(set(names)) < len(names):
            raise ValueError(f"names each target once. Received: {', '.join(names)}")
        return targets

    def check_settings(self, outlook: Outlook) -> None:
        """Checks that what the targets need is installed."""
        for one in self.targets:
            try:
                one.target.check_installed()
            except InputError as error:
                raise InputError(str(error), ("targets",)) from None

    def _exports(self) -> Iterator[Export]:
        """Settings that name each target with its options."""
        for one in self.targets:
            yield Export(target=one.name, target_options=one.options)

    def surroundings(self) -> tuple[str, ...]:
        """The machine that is measured, and the versions of the targets' tools."""
        tools = (TARGETS[export.target].surroundings for export in self._exports())
        return platform.machine(), platform.node(), *itertools.chain.from_iterable(tools)

    def measure(self, file: Path, context: Context) -> dict[str, float]:
        """Sizes of a file and, where LiteRT is among the targets, latency and memory."""
        from tfopt.tflite.benchmark import sizes

        return self._timed(file, context).figures if self._on_litert else sizes(file)

    @property
    def _on_litert(self) -> bool:
        return LITERT in (one.name for one in self.targets)

    def _timed(self, file: Path, context: Context) -> Measurement:
        from tfopt.tflite.benchmark import timed
        from tfopt.tflite.timing_process import sample_shapes

        return timed(file, self.threads, self.seconds, sample_shapes(context.data.test.few(1).x, file))

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Measures each file."""
        found = {file.name: self._timed(file.path, context) for file in inputs} if self._on_litert else {}
        latencies = {name: measured.latency for name, measured in found.items()}
        files = {name: measured.figures for name, measured in found.items()}
        files = files or {file.name: self.measure(file.path, context) for file in inputs}
        details: list[Detail] = [Latencies.from_json({"files": latencies, "threads": self.threads})] if found else []
        details += [self._compared(inputs, files, context)] if self.targets != (TargetChoice(LITERT),) else []
        last = inputs[-1]
        return context.artifact(
            self,
            inputs,
            f"../{last.name}/{last.file}",
            metrics=files[last.name],
            files=files,
            details=details,
        )

    def _compared(
        self, inputs: Sequence[Artifact], timed: Mapping[str, Mapping[str, float]], context: Context
    ) -> FilesOnTargets:
        """Each file on each target."""
        exports = list(self._exports())
        rows: list[FileOnTarget] = []
        notes: dict[str, tuple[str, ...]] = {}
        for file in inputs:
            for export in exports:
                name = export.target
                if name == LITERT:
                    figures = {"latency_median_seconds": timed[file.name]["latency_median_seconds"]}
                    rows.append(FileOnTarget(file.name, name, figures))
                    continue
                row, told = _on_target(file, export, context)
                rows.append(row)
                notes.update({name: tuple(dict.fromkeys((*notes.get(name, ()), *told)))} if told else {})
                context.progress.step(f"{file.name} on {name}: {row.reason or 'measured'}")
        return FilesOnTargets(tuple(rows), notes)


def _on_target(file: Artifact, export: Export, context: Context) -> tuple[FileOnTarget, tuple[str, ...]]:
    """A file on a target, with what has to be known of the figures; or the reason why the target does not take it."""
    from tfopt.data.arrays import by_name
    from tfopt.quantization.validation import measure_on_target
    from tfopt.targets.target_cost import cost_of
    from tfopt.tflite.file import read

    target, content = TARGETS[export.target], file.path.read_bytes()
    # What is flashed of kernels that are decoded, whose outputs are those of the plain file.
    own = file.device_files.get(target.name) if target.decodes else None
    figures: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    try:
        if target.measure is not None:
            given = by_name(context.data.test.few(COMPARED).x)
            samples = given if "" not in given else dict.fromkeys(read(content).inputs, given[""])
            figures = measure_on_target(target, content, samples)
        if target.cost is not None:  # after the run, which it knows
            found = cost_of(own.read_bytes() if own else content, target, export)
            figures, notes = {**figures, **found.cost.figures}, found.cost.notes
            notes += (f"of {file.name} it is {own.name}, whose kernels are decoded",) if own else ()
            left = sum(bool(layer.on_cpu) for layer in found.layers)
            figures |= {"cpu_operators": float(left)} if left else {}
    except (ConversionError, ModelError) as error:
        reason, _, _ = str(error).partition(". ")
        reason = reason.removeprefix(f"target {target.name} ").rstrip(".")
        return FileOnTarget(file.name, target.name, {}, reason[:REASON]), ()
    return FileOnTarget(file.name, target.name, figures), notes

"""Stage `benchmark`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tfopt.recipe.artifact import Artifact, Format
from tfopt.recipe.details.timing import Latencies
from tfopt.recipe.stage import Context, Stage

if TYPE_CHECKING:
    from tfopt.tflite.benchmark import Measurement


class Benchmark(Stage):
    """Measures every `.tflite` made so far in a fresh process: the three sizes, latency, memory."""

    kind: ClassVar[str] = "benchmark"
    rank: ClassVar[int] = 12
    takes: ClassVar[Format] = "tflite"
    gives: ClassVar[Format] = "tflite"
    gathers: ClassVar[bool] = True

    threads: int = Field(1, ge=1)
    """CPU threads."""
    seconds: float = Field(1.0, gt=0)
    """How long to time each file, after a warm-up."""

    def surroundings(self) -> tuple[str, ...]:
        """The machine that is measured."""
        return platform.machine(), platform.node()

    def measure(self, file: Path, context: Context) -> dict[str, float]:
        """Sizes, latency and memory of a file."""
        return self._timed(file, context).figures

    def _timed(self, file: Path, context: Context) -> Measurement:
        from tfopt.tflite.benchmark import timed
        from tfopt.tflite.timing_process import sample_shapes

        return timed(file, self.threads, self.seconds, sample_shapes(context.data.test.few(1).x, file))

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Measures each file."""
        found = {file.name: self._timed(file.path, context) for file in inputs}
        latencies = {name: measured.latency for name, measured in found.items()}
        files = {name: measured.figures for name, measured in found.items()}
        last = inputs[-1]
        return context.artifact(
            self,
            inputs,
            f"../{last.name}/{last.file}",
            metrics=files[last.name],
            files=files,
            details=[Latencies.from_json({"files": latencies, "threads": self.threads})],
        )

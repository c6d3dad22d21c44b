"""Stage `benchmark`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from tfopt.artifact import Artifact, Format
from tfopt.stages.base import Context, Stage


class Benchmark(Stage):
    """Measures every `.tflite` made so far in a fresh process: the three sizes, latency, memory."""

    kind: ClassVar[str] = "benchmark"
    takes: ClassVar[Format] = "tflite"
    gives: ClassVar[Format] = "tflite"
    gathers: ClassVar[bool] = True

    threads: int = Field(1, ge=1)
    """CPU threads."""
    seconds: float = Field(1.0, gt=0)
    """How long to time each file, after a warm-up."""

    def run(self, inputs: Sequence[Artifact], context: Context) -> Artifact:
        """Measures each file."""
        from tfopt.benchmark import measure

        files = {file.name: measure(file.path, self.threads, self.seconds) for file in inputs}
        last = inputs[-1]
        return context.artifact(self, inputs, f"../{last.name}/{last.file}", metrics=files[last.name], files=files)

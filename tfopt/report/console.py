"""The final table and the progress of a run, on a terminal or in a pipe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from tfopt.recipe.artifact import Artifact
from tfopt.recipe.progress import Progress
from tfopt.report import summary as summary_tables

# Largest number of metrics in the terminal's table; report.md has all.
MOST_SCORES = 3


def table(artifacts: dict[str, Artifact]) -> Table:
    """The run's rows as a Rich table."""
    rows = summary_tables.rows(artifacts)
    scores = summary_tables.score_names(artifacts)[:MOST_SCORES]
    result = Table()
    for index, header in enumerate(summary_tables.headers(scores)):
        result.add_column(header, justify="right" if index else "left")
    for row in rows:
        result.add_row(*summary_tables.cells(row, scores))
    return result


def summary(artifact: Artifact) -> str:
    """The result of a stage in a few words."""
    m = artifact.metrics
    words = [f"{name} {m[name]:.4f}" for name in artifact.scores]
    words += [f"sparsity {m['sparsity']:.4f}"] if "sparsity" in m and artifact.format == "keras" else []
    words += [f"{m['raw_bytes']:,.0f} B"] if "raw_bytes" in m else []
    words += [summary_tables.duration(m["latency_median_seconds"])] if "latency_median_seconds" in m else []
    words += [f"tensor arena {m['arena_bytes']:,.0f} B"] if "arena_bytes" in m else []
    words += [f"{len(artifact.skipped)} left as they were"] if artifact.skipped else []
    count = len(artifact.warnings)
    words += [f"{count} warning{'s' if count > 1 else ''}"] if count else []
    return ", ".join(words)


class PlainProgress(Progress):
    """Lines for a pipe or a log file."""

    def __init__(self, console: Console):
        self._console = console
        self._started = 0.0
        self._epochs_before: int | None = None
        self._checking = False

    def checking(self) -> None:
        """Prints that the checks begin, once: they take a while, as TensorFlow is loaded for them."""
        if not self._checking:
            self._line("checking the model and the data")
        self._checking = True

    def checked(self, what: str) -> None:
        """Prints what was checked."""
        self._line(f"  {what}: checked")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Prints that the stage begins."""
        self._line(f"[{index}/{count}] {name}: runs")
        self._started, self._epochs_before = time.monotonic(), None

    def reused(self, name: str, kind: str, index: int, count: int) -> None:
        """Prints that the result is reused."""
        self._line(f"[{index}/{count}] {name}: reused")

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Prints an epoch with the remaining time."""
        before = self._epochs_before = epoch - 1 if self._epochs_before is None else self._epochs_before
        left = (time.monotonic() - self._started) / (epoch - before) * (epochs - epoch)
        self._line(f"  epoch {epoch}/{epochs}  {_logs(logs)}  {left:.0f} s left")

    def step(self, text: str) -> None:
        """Prints the step."""
        self._line(f"  {text}")

    def done(self, artifact: Artifact) -> None:
        """Prints the result of the stage."""
        words = summary(artifact)
        self._line(f"  done in {artifact.seconds:.1f} s{': ' if words else ''}{words}")


class RichProgress(Progress):
    """A bar with epochs and remaining time for the running stage, a line for each finished stage."""

    def __init__(self, console: Console):
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        # Rich would take Python's streams and show what is written to them, where `captured` does not reach.
        self._bars = Bars(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task: TaskID | None = None
        self._label = ""

    def checking(self) -> None:
        """Draws a bar without an end."""
        self._label = "checking the model and the data"
        self._begin()

    def checked(self, what: str) -> None:
        """Writes what was checked beside the bar."""
        self._update(text=f"{what}: checked")

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Draws a bar."""
        self._label = f"[bold]{index}/{count}[/] {name}"
        self._begin()

    def _begin(self) -> None:
        self._drop()
        self._bars.start()
        self._task = self._bars.add_task(self._label, total=None, text="")

    def reused(self, name: str, kind: str, index: int, count: int) -> None:
        """Prints that the result is reused."""
        self._console.print(f"[bold]{index}/{count}[/] {name} [dim]reused[/]")

    def batch(self, epoch: int, epochs: int, done: float) -> None:
        """Moves the bar within the epoch."""
        self._update(completed=epoch + done, total=epochs)

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Moves the bar, with what Keras logged."""
        self._update(completed=epoch, total=epochs, text=f"epoch {epoch}/{epochs}  {_logs(logs)}")

    def step(self, text: str) -> None:
        """Prints the step above the bar."""
        self._console.print(f"  {text}", markup=False, highlight=False, style="dim")

    def part(self, done: float) -> None:
        """Moves the bar."""
        self._update(completed=done, total=1.0)

    def _update(self, **changes: Any) -> None:
        if self._task is not None:
            self._bars.update(self._task, **changes)

    def done(self, artifact: Artifact) -> None:
        """Replaces the bar by a line."""
        self._drop()
        self._console.print(f"{self._label} [green]done[/] in {artifact.seconds:.1f} s  [dim]{summary(artifact)}[/]")

    def close(self) -> None:
        """Removes the bar."""
        self._drop()
        self._bars.stop()

    def _drop(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


def progress(console: Console) -> Progress:
    """Bars on a terminal, lines in a pipe or file."""
    return RichProgress(console) if console.is_terminal else PlainProgress(console)


def _logs(logs: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {float(value):.4g}" for name, value in logs.items())

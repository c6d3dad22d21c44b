"""The final table and the progress of a run, on a terminal or in a pipe."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from tfopt.plain_text import printable
from tfopt.recipe.artifact import BASELINE, Artifact
from tfopt.recipe.details.decoding import DecodedKernels
from tfopt.recipe.details.kit import ExportedKits
from tfopt.recipe.progress import Progress
from tfopt.report import summary as summary_tables
from tfopt.report.baseline import LATENCIES, baseline_of
from tfopt.report.decoding import decoding_words
from tfopt.report.fitted_table import Cells, FittedTable, wrapped
from tfopt.report.headline import EQUAL_RATIO
from tfopt.report.on_device import files, line
from tfopt.report.sections.on_targets import best_files
from tfopt.report.stage_title import title
from tfopt.report.units import bytes_, duration, times

# Largest number of metrics in the terminal's table; report.md has all.
MOST_SCORES = 3
# Largest number of layers or stages that a line names.
MOST_NAMES = 3
# Width of a progress bar, and of what a line has besides the stage's name: the bar, the epoch, the time, and spaces.
BAR, REST_OF_BAR = 20, 48


def table(artifacts: dict[str, Artifact]) -> FittedTable:
    """The run's rows, below each figure what it comes to against the baseline; for any width of a terminal."""
    scores = summary_tables.score_names(artifacts)[:MOST_SCORES]
    *headers, latency = summary_tables.headers(scores)
    rows = []
    for row in summary_tables.rows(artifacts):
        pairs = zip(summary_tables.cells(row, scores), summary_tables.remarks(row, scores), strict=True)
        rows.append(tuple(f"{cell}\n{remark.replace(', ', chr(10))}" if remark else cell for cell, remark in pairs))
    whole = Cells((*headers, latency), tuple(rows))
    medians = Cells((*headers, "median"), tuple((*row[:-1], _median(row[-1])) for row in rows), left_out=("p90",))
    fewer = medians.without("non-zero")
    return FittedTable(whole, medians, fewer, fewer.without("sparsity"))


def _median(latency: str) -> str:
    """The cell of the latency without its 90th percentile."""
    figure, newline, remark = latency.partition("\n")
    return figure.split(" / ")[0] + newline + remark


def summary(artifact: Artifact) -> str:
    """The result of a stage in a few words."""
    return ", ".join(words(artifact))


def words(artifact: Artifact) -> list[str]:
    """The parts of `summary`."""
    m = artifact.metrics
    found = [f"{name} {m[name]:.4f}" for name in artifact.scores]
    found += [f"sparsity {m['sparsity']:.4f}"] if "sparsity" in m and artifact.format == "keras" else []
    found += [bytes_(m["raw_bytes"])] if "raw_bytes" in m else []
    found += [duration(m["latency_median_seconds"])] if "latency_median_seconds" in m else []
    told = {name for file in files(artifact) for name in file.figures}
    found += [f"tensor arena {bytes_(m['arena_bytes'])}"] if "arena_bytes" in m.keys() - told else []
    found += [*(line(file) for file in files(artifact)), *best_files(artifact)]
    decoding = artifact.details.of(DecodedKernels)
    found += [traded] if decoding and (traded := decoding_words(decoding)) else []
    if artifact.kind == BASELINE:
        found += [f"no {one.where}: {one.reason}" for one in artifact.skipped]
    elif artifact.skipped:
        found.append(f"left as they were: {_named([one.where for one in artifact.skipped])}")
    count = len(artifact.warnings)
    found += [f"{count} warning{'s' if count > 1 else ''}"] if count else []
    return found


def _named(places: Sequence[str]) -> str:
    more = f" and {len(places) - MOST_NAMES} more" if len(places) > MOST_NAMES else ""
    return f"{', '.join(places[:MOST_NAMES])}{more}"


def unmeasured(artifacts: Mapping[str, Artifact]) -> str | None:
    """The line on files whose accuracy the recipe does not measure; None where it measures all of them."""
    scores = summary_tables.score_names(artifacts)
    found = [row.stage for row in summary_tables.rows(dict(artifacts)) if row.format == "tflite"]
    missing = [row.stage for row in summary_tables.rows(dict(artifacts)) if not set(scores) & row.metrics.keys()]
    names = [name for name in found if name in missing]
    return f"note  {scores[0]} of {_named(names)} is not measured: add verify to the recipe" if names else None


def slower(artifacts: Mapping[str, Artifact]) -> str | None:
    """The line on a last file that is slower than the model one started from, and what tells more; None of others."""
    files = [row for row in summary_tables.rows(dict(artifacts)) if row.format == "tflite"]
    ratio = files[-1].against.get(LATENCIES[0], 1.0) if files else 1.0
    if not 0 < ratio < 1 / EQUAL_RATIO or files[-1].untold_spread_seconds is not None:
        return None
    started, device = baseline_of(artifacts), "python -m tfopt.tflite.benchmark FILE"
    than = started.words if started else BASELINE
    return f"note  {files[-1].stage} is {times(1 / ratio)} slower here than {than}: time it on its device with {device}"


def flashing(folder: str, artifacts: Mapping[str, Artifact]) -> list[str]:
    """The lines on kits to flash: where they are, or the command that makes one of a file for a microcontroller.

    Args:
        folder: The run's folder, as a shell takes it.
        artifacts: Its artifacts.
    """
    found = [(name, details) for name, one in artifacts.items() if (details := one.details.of(ExportedKits))]
    if found:
        return [f"kit     {folder}/{name}/{kit.folder}" for name, details in found for kit in details.kits.values()]
    made = [one for one in artifacts.values() if one.format == "tflite" and not one.files]
    return [f"flash   tfopt export {folder} --out kit"] if made and "arena_bytes" in made[-1].metrics else []


class NotesAlone(Progress):
    """A line for each note, and nothing else."""

    def __init__(self, console: Console):
        self._console = console

    def note(self, text: str) -> None:
        """Prints the note."""
        _print(self._console, f"note: {text}")


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
        _print(self._console, text)

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Prints that the stage begins."""
        self._line(f"[{index}/{count}] {name}: runs")
        self._epochs_before = None

    def reused(self, name: str, kind: str, index: int, count: int) -> None:
        """Prints that the result is reused."""
        self._line(f"[{index}/{count}] {name}: reused")

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Prints an epoch, from the second on with the remaining time."""
        left = []
        if self._epochs_before is None:  # in its time the model was traced, and an interrupted training restored
            self._started, self._epochs_before = time.monotonic(), epoch
        else:
            each = (time.monotonic() - self._started) / (epoch - self._epochs_before)
            left = [f"{each * (epochs - epoch):.0f} s left"]
        self._line("  ".join([f"  epoch {epoch}/{epochs}", *_logs(logs), *left]))

    def measuring(self, name: str) -> None:
        """Prints which model the results are compared with."""
        self._line(f"{BASELINE}: {title(name)}")

    def step(self, text: str) -> None:
        """Prints the step."""
        self._line(f"  {text}")

    def note(self, text: str) -> None:
        """Prints the note."""
        self._line(f"  note: {text}")

    def done(self, artifact: Artifact) -> None:
        """Prints the result of the stage."""
        words = summary(artifact)
        self._line(f"  done in {artifact.seconds:.1f} s{': ' if words else ''}{words}")


class TimeLeft(TimeRemainingColumn):
    """The remaining time; nothing as long as that cannot be told."""

    def render(self, task: Task) -> Text:
        """Draws the time of a task that is timed."""
        return super().render(task) if task.fields["timed"] else Text("")


class RichProgress(Progress):
    """A bar with epochs and remaining time for the running stage, a line for each finished stage."""

    def __init__(self, console: Console):
        self._console = console
        room = max(console.width - REST_OF_BAR, 10)
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=room)),
            BarColumn(BAR),
            TextColumn("{task.fields[text]}"),
            TimeLeft(),
        )
        # Rich would take Python's streams and show what is written to them, where `captured` does not reach.
        self._bars = Bars(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task: TaskID | None = None
        self._label, self._traced = "", False

    def checking(self) -> None:
        """Draws a bar without an end."""
        self._label = "checking the model and the data"
        self._begin()

    def checked(self, what: str) -> None:
        """Writes what was checked beside the bar."""
        self._update(text=f"{what}: checked")

    def stage(self, name: str, kind: str, index: int, count: int) -> None:
        """Draws a bar."""
        self._label = f"[bold]{index}/{count}[/] {escape(name)}"
        self._begin()

    def measuring(self, name: str) -> None:
        """Draws a bar."""
        self._label = f"{BASELINE} {escape(title(name))}"
        self._begin()

    def _begin(self) -> None:
        self._drop()
        self._bars.start()
        self._task, self._traced = self._bars.add_task(self._label, total=None, text="", timed=True), False

    def reused(self, name: str, kind: str, index: int, count: int) -> None:
        """Prints that the result is reused."""
        self._console.print(f"[bold]{index}/{count}[/] {escape(name)} [dim]reused[/]")

    def batch(self, epoch: int, epochs: int, done: float) -> None:
        """Moves the bar within the epoch."""
        self._update(completed=epoch + done, total=epochs, timed=self._traced)

    def epoch(self, epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
        """Moves the bar, and prints what Keras logged above it."""
        self._lines(wrapped([f"epoch {epoch}/{epochs}", *_logs(logs)], self._console.width))
        if self._task is not None and not self._traced:  # what the first epoch took tells nothing of the others
            self._bars.reset(self._task, completed=epoch, total=epochs)
            self._traced = True
        self._update(completed=epoch, total=epochs, text=f"epoch {min(epoch + 1, epochs)}/{epochs}", timed=True)

    def _lines(self, lines: list[str]) -> None:
        if lines:
            _print(self._console, "\n".join(lines), "dim")

    def step(self, text: str) -> None:
        """Prints the step above the bar."""
        _print(self._console, f"  {text}", "dim")

    def note(self, text: str) -> None:
        """Prints the note above the bar."""
        _print(self._console, f"  note: {text}")

    def part(self, done: float) -> None:
        """Moves the bar."""
        self._update(completed=done, total=1.0)

    def _update(self, **changes: Any) -> None:
        if self._task is not None:
            self._bars.update(self._task, **changes)

    def done(self, artifact: Artifact) -> None:
        """Replaces the bar by a line."""
        self._drop()
        self._console.print(f"{self._label} [green]done[/] in {artifact.seconds:.1f} s", highlight=False)
        self._lines(wrapped(words(artifact), self._console.width, between=", "))

    def close(self) -> None:
        """Removes the bar."""
        self._drop()
        self._bars.stop()

    def _drop(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


def progress(console: Console) -> Progress:
    """Bars on a terminal, lines in a pipe or file, and on a terminal that cannot move its cursor."""
    return RichProgress(console) if console.is_interactive else PlainProgress(console)


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True, style=style)


def _logs(logs: Mapping[str, float]) -> list[str]:
    return [f"{name} {float(value):.4g}" for name, value in logs.items()]

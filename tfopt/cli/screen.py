"""Output of the commands: console, progress bar, tables, JSON and pages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.cli.streams import lasting
from tfopt.plain_text import plain_json, printable

if TYPE_CHECKING:
    from rich.console import Console

    from tfopt.report.page import Page

PIPE_WIDTH = 120
ELSEWHERE = "Name a file in another folder."


def open_console(error: bool = False) -> Console:
    """A console on a copy of standard output, or of the error stream, which capturing does not redirect.

    In a pipe it is wide, or as wide as COLUMNS says, and draws no bars, whatever FORCE_COLOR says of colours. Rich
    reads NO_COLOR and TERM.
    """
    from rich.console import Console

    from tfopt.output_capture import terminal

    stream = lasting(terminal(2 if error else 1), error)
    if stream.isatty():
        return Console(file=stream)
    return Console(file=stream, width=_pipe_width(), soft_wrap=True, force_interactive=False)


def _pipe_width() -> int:
    """The width of what goes into a pipe or a file: that of COLUMNS, where it is set."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) > 0 else PIPE_WIDTH


def relative_path(path: Path) -> Path:
    """The path relative to the working directory, if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@contextmanager
def progress_bar(console: Console, what: str) -> Iterator[Callable[[float], None]]:
    """Shows a progress bar and captures what libraries print; yields the function that sets the fraction, 0-1."""
    from rich.progress import Progress

    from tfopt.output_capture import captured

    # Rich would take Python's streams and show what is written to them, where `captured` does not reach.
    shown = console.file.isatty()
    with Progress(
        console=console, transient=True, disable=not shown, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task(what, total=1.0)
        with captured():  # TensorFlow prints when it is imported
            yield lambda done: bar.update(task, completed=done)


def write_page(file: Path | None, page: Callable[[], Page]) -> None:
    """Writes a page if a file is given."""
    from tfopt.durable_files import storage_errors, write

    if file is not None:
        with storage_errors(file, ELSEWHERE):
            write(file, page().html())


@contextmanager
def shown_later() -> Iterator[None]:
    """Keeps Python from showing the warnings of tfopt in the block: the command prints them with the results."""
    import warnings

    from tfopt.errors import TfoptWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TfoptWarning)
        yield


@contextmanager
def shown_log(console: Console, folder: Path | None) -> Iterator[None]:
    """Shows what is written to the log of a run in its folder, line by line; nothing where no folder is given."""
    from tfopt.output_capture import followed
    from tfopt.recipe.artifact import LOG

    if folder is None:
        yield
        return
    with followed(folder / LOG, lambda line: print_line(console, line)):
        yield


def print_line(console: Console, text: str) -> None:
    """Prints a text as it is: no markup, no colours of words, no breaks but its own, nothing that a terminal obeys."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def print_warnings(sentences: Iterable[str]) -> None:
    """Prints warnings on the error stream, a line for each."""
    for sentence in sentences:
        sys.stderr.write(f"warning: {printable(sentence)}\n")


def print_json(record: Any) -> None:
    """Plain data on standard output, with null for numbers that JSON does not have: infinite ones and NaN."""
    sys.stdout.write(plain_json(record))


def print_table(console: Console, headers: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> None:
    """A table whose first `left` columns are words; no number in it is cut, however narrow the terminal."""
    from tfopt.report.fitted_table import Cells, FittedTable

    console.print(FittedTable(Cells(tuple(headers), tuple(map(tuple, rows)), left)))


def print_lines(console: Console, lines: Sequence[str], page: Path | None) -> None:
    """Prints lines, and the path of the page."""
    for line in [*lines, *([f"page  {relative_path(page.resolve())}"] if page is not None else [])]:
        print_line(console, line)

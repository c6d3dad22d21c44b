"""How a command answers: with bars and tables, quietly with a path, or with one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfopt.cli.screen import open_console, print_json, relative_path, shown_log

if TYPE_CHECKING:
    from rich.console import Console

    from tfopt.recipe.progress import Progress

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else, of errors too.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the file's path alone, and warnings and errors.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show what libraries and your own code print, as it comes.")
]


@dataclass(frozen=True)
class Answer:
    """What a command prints besides its result.

    Args:
        as_json: JSON in place of everything else on standard output.
        quiet: The path of the file in place of everything else on standard output.
        verbose: What libraries and a user's own code print, too: on the error stream beside JSON.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False

    def check(self) -> None:
        """Refuses options that contradict each other."""
        from tfopt.errors import InputError

        if self.quiet and self.verbose:
            raise InputError("--quiet and --verbose contradict each other. Leave one out. Received: both.")

    @property
    def plain(self) -> bool:
        """Whether tables and progress are shown."""
        return not (self.as_json or self.quiet)

    def progress(self, console: Console, trackers: Iterable[str] = ()) -> Progress:
        """The display of a run's progress, and its record with the trackers that are asked for."""
        from tfopt.recipe.progress import Together
        from tfopt.report import console as screen

        shown = screen.progress(console) if self.plain else screen.NotesAlone(open_console(error=True))
        if not trackers:
            return shown
        return Together(shown, *(_tracker(name, shown.note) for name in trackers))

    def log(self, folder: Path) -> AbstractContextManager[None]:
        """Shows the log that is written to a folder, where it is asked for."""
        return shown_log(open_console(error=self.as_json), folder if self.verbose else None)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Answers an error of the block in JSON too, where that is asked for."""
        from tfopt.errors import GateError, TfoptError

        try:
            self.check()
            yield
        except GateError:  # its results are there, and were printed
            raise
        except TfoptError as error:
            if self.as_json:
                print_json({"error": str(error), "kind": type(error).__name__, "exit_code": error.exit_code})
            raise


def print_path(path: Path) -> None:
    """The path of a file alone, on standard output."""
    sys.stdout.write(f"{relative_path(path)}\n")


def _tracker(name: str, notify: Callable[[str], None]) -> Progress:
    """The record of a run in MLflow or in Weights & Biases, where their environment variables say."""
    if name == "wandb":
        from tfopt.report.wandb_tracking import WandbProgress

        return WandbProgress(notify=notify)
    from tfopt.report.mlflow_tracking import MLflowProgress

    return MLflowProgress(notify=notify)

"""The `tfopt` command. Each subcommand imports its packages when it runs, so that help is fast."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tfopt.cli import (
    compare,
    demo,
    devices,
    export,
    init,
    learning_rate,
    models,
    push,
    recipes,
    reproduce,
    searching,
    sensitivity,
    words,
)
from tfopt.cli.choices import Command, typing_mistake
from tfopt.cli.interruption import BY_SIGNAL, interrupting_signals, report_interruption
from tfopt.cli.screen import relative_path
from tfopt.cli.streams import lasting_streams
from tfopt.plain_text import printable

app = typer.Typer(
    help="A Keras 3 model and a short recipe in; the smallest, fastest .tflite that keeps its accuracy out.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (
    demo.demo,
    init.init,
    recipes.run,
    searching.search,
    recipes.validate,
    learning_rate.learning_rate,
    models.convert,
    sensitivity.sensitivity,
    models.inspect,
    export.export,
    compare.compare,
    recipes.report,
    reproduce.reproduce,
    push.push,
    recipes.clean,
    words.stages,
    devices.devices,
    words.schema,
):
    app.command(cls=Command)(_command)

LOG_TAIL = 20
INTERRUPTED = BY_SIGNAL + signal.SIGINT


@app.callback()
def _tfopt(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from tfopt import __version__

        typer.echo(f"tfopt {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command: a TfoptError is one line and its exit code; an unexpected error has the end of its log too."""
    from tfopt.errors import DataError, StorageError, TfoptError, id_fault, memory_fault, storage_fault

    with lasting_streams() as faults, interrupting_signals() as received:
        try:
            sys.exit(_code(faults, received))
        except KeyboardInterrupt:
            sys.exit(report_interruption(received))
        except TfoptError as error:
            if received:  # native code may turn an interrupt into an error of its own
                sys.exit(report_interruption(received))
            sys.stderr.write(f"{printable(str(error))}\n")
            if error.log and error.unexpected and (lines := _lines(error.log)[-LOG_TAIL:]):
                sys.stderr.write(f"-- the end of {relative_path(error.log)} --\n" + "\n".join(lines) + "\n")
            if error.in_cluster:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(error.exit_code)
            sys.exit(error.exit_code)
        except Exception as error:
            if why := storage_fault(error):
                sys.stderr.write(f"{why}.\n")
                sys.exit(StorageError.exit_code)
            if why := id_fault(error):
                sys.stderr.write(f"{why}\n")
                sys.exit(DataError.exit_code)
            if (why := memory_fault(error)) is None:
                raise
            sys.stderr.write(f"the memory is full{f' ({why})' if why else ''}. Take a machine with more.\n")
            sys.exit(TfoptError.exit_code)


def _code(faults: list[OSError], received: list[int]) -> int:
    """The exit code of the command; mistakes in its words are a line, as all others.

    Args:
        faults: What went wrong on standard output.
        received: The signals that came, by number.
    """
    from tfopt.errors import InputError, StorageError

    try:
        code = app(prog_name="tfopt", standalone_mode=False) or 0
    except TyperException as error:
        if not str(error.format_message()):  # no command at all, whose help was shown
            return error.exit_code
        raise InputError(typing_mistake(error)) from error
    except typer.Abort:
        sys.stderr.write("aborted: nothing was changed\n")
        return 1
    if code == INTERRUPTED:  # Typer turns a KeyboardInterrupt into this
        return report_interruption(received)
    sys.stdout.flush()
    if faults and not code:
        raise StorageError(f"standard output cannot be written: {faults[0].strerror or faults[0]}.")
    return code


def _lines(log: Path) -> list[str]:
    """The lines of a log; none where it is gone, with the folder that it was in."""
    try:
        return log.read_text(errors="replace").splitlines()
    except OSError:
        return []

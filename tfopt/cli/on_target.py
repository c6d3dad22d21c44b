"""Targets on the command line: a name with options, and what a file costs there."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfopt.cli.completion import targets

if TYPE_CHECKING:
    from rich.console import Console

    from tfopt.quantization.conversion import Conversion
    from tfopt.recipe.details.device_files import DeviceFile
    from tfopt.recipe.details.usage import Usage
    from tfopt.recipe.export import Export

TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="{TARGETS}; with options after a colon, as ethos-u55-128:cpu=allow, and commas between them.",
        autocompletion=targets,
    ),
]


def target_setting(text: str) -> Any:
    """A target as `target:` in a recipe has it: `NAME`, or `NAME:option=value,option=value`.

    Raises:
        InputError: What follows the colon are no options.
    """
    from tfopt.errors import InputError

    name, colon, written = text.partition(":")
    if not colon:
        return name
    pairs = [part.partition("=") for part in written.split(",")]
    if not all(option and equals and value for option, equals, value in pairs):
        raise InputError(f"a target's options are written NAME:option=value,option=value. Received: {text!r}.")
    return {name: {option: value for option, _, value in pairs}}


# A target with an option as a recipe has it, in a sentence: `target: {ethos-u55-128: {cpu: allow}}`.
_WRITTEN = re.compile(r"target: \{([\w-]+): \{(\w+): (\w+)\}\}")


@contextlib.contextmanager
def in_options() -> Iterator[None]:
    """Says what is wrong with the settings of a conversion in the words of the command line."""
    from tfopt.errors import RecipeError

    try:
        yield
    except RecipeError as error:
        said = [(place, _worded(sentence)) for place, sentence in error.problems]
        raise RecipeError(said) from error


def _worded(sentence: str) -> str:
    options = _WRITTEN.sub(r"--target \1:\2=\3", sentence)
    return f"--target{rest}" if (rest := options.removeprefix("convert.target")) != options else options


def check_costs(file: Path, target: str) -> None:
    """Refuses a model that is no `.tflite`, by its name and before anything is imported that takes its time.

    Raises:
        InputError: It is one that has to be converted first.
    """
    from tfopt.errors import InputError
    from tfopt.models.stored_model import FILES
    from tfopt.recipe.export import Export

    with in_options():
        Export(target=target_setting(target))
    if file.is_dir() or (file.suffix in FILES and file.exists()):  # one that is not there is told as such
        way = f"tfopt convert {shlex.quote(str(file))} --target {shlex.quote(target)} --data x_train.npy"
        raise InputError(f"there are costs of a .tflite file alone. Convert the model first: {way}")


def found_on(file: Path, target: str) -> DeviceFile:
    """What a `.tflite` costs on a target, measured now.

    Raises:
        InputError: The target tells nothing of a file, or what it needs is not installed.
        ConversionError: The target does not take the file.
    """
    from tfopt.deployment import usage
    from tfopt.errors import InputError
    from tfopt.recipe.export import Export
    from tfopt.targets.target_cost import device_file

    with in_options():
        export = Export(target=target_setting(target))
    if compiled(usage(file)):
        raise InputError(
            "a compiled file has no cost of its own: it is in that of the .tflite that it was made of. Ask for that, "
            f"{file.name.replace('.vela.tflite', '.tflite')}. Received: {file}."
        )
    return device_file(file.read_bytes(), export)


def compiled(found: Usage) -> bool:
    """Whether a file is Vela's, which neither LiteRT runs nor Vela takes again."""
    from tfopt.tflite.ops import NPU

    return NPU in found.ops


def own_file(export: Export, file: Path) -> Path | None:
    """Where the own file of a target will lie beside a `.tflite`; None where it takes that itself."""
    from tfopt.recipe.target import TARGETS

    target = TARGETS[export.target]
    return target.own_file(file) if target.makes_file(export) else None


def device_lines(converted: Conversion, file: Path) -> list[str]:
    """What a file that was just converted costs on its target, and the target's own file."""
    from tfopt.cli.screen import relative_path
    from tfopt.report.on_device import line
    from tfopt.report.units import bytes_

    found = converted.on_target
    if found is None:
        return []
    own = found.own_file(file)
    lines = [line(found.record())]
    return [*lines, f"file  {relative_path(own.resolve())}  {bytes_(len(found.cost.content or b''))}"] if own else lines


def print_on_target(console: Console, found: DeviceFile) -> None:
    """Prints a table by layer, and what the file costs as a whole."""
    from tfopt.cli.screen import print_line, print_table
    from tfopt.report.on_device import layer_table, line

    if (table := layer_table(found)) is not None:
        rows = [tuple(map(str, row)) for row in table.rows]
        print_table(console, table.headers, rows, table.left)
    for text in (*(f"note  {note}" for note in found.notes), line(found)):
        print_line(console, text)

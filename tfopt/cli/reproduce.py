"""The command `reproduce`: a run made again elsewhere, and its bytes compared."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tfopt.cli.answer import Answer, JsonOption, QuietOption, VerboseOption
from tfopt.cli.recipes import SAVED_MODELS, DataOption, load
from tfopt.cli.screen import open_console, print_json, print_line, shown_later


def reproduce(
    run: Annotated[Path, typer.Argument(help="The folder of a run, such as saved_models/digits.")],
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", help="Its recipe, where the paths in the folder's own are those of another machine."),
    ] = None,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Keep the new run in this folder; removed if not given.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a recipe again elsewhere, and compare every file with that of the run, byte by byte."""
    from tfopt.errors import InputError, TfoptError
    from tfopt.pipeline.reproduction import other_versions, reproduce
    from tfopt.recipe.artifact import RECIPE
    from tfopt.recipe.yaml_source import is_recipe

    answer, console = Answer(as_json, quiet, verbose), open_console()
    with answer.errors(), contextlib.ExitStack() as stack:
        if is_recipe(run) and run.is_file():
            folder = SAVED_MODELS / load(run, None, None, run_code=False).name
            raise InputError(f"a run is reproduced, and {run} is a recipe. Name the folder of its run: {folder}.")
        if not (recipe or (run / RECIPE).is_file()):
            raise InputError(f"{run} has no recipe of a run that was finished. Name a run's folder, or give --recipe.")
        loaded = load(recipe or run / RECIPE, data, None)
        for line in other_versions(run) if answer.plain else ():
            print_line(console, f"note: {line}")
        place = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tfopt-")))
        stack.enter_context(shown_later())
        stack.enter_context(answer.log(place / loaded.name))
        found = reproduce(run, loaded, place, answer.progress(console))
    if as_json:
        print_json(found.as_record())
    same = sum(not file.difference for file in found.files)
    for file in found.files if answer.plain else ():
        size = f"{file.size:,} bytes" if file.size is not None else "-"
        print_line(console, f"{file.file}  {file.difference or f'the same {size}'}")
    summary = f"{same} of {len(found.files)} files have the same bytes"
    if not found.same:
        why = f" The versions differ: {', '.join(one.name for one in found.versions)}." if found.versions else ""
        raise TfoptError(f"{summary}.{why}")
    if answer.plain:
        print_line(console, f"reproduced: {summary}")

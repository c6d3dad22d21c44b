"""The command `init`: the first recipe of a model, found by looking at it and at its samples."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from tfopt.cli.answer import Answer, JsonOption, QuietOption, print_path
from tfopt.cli.completion import goals
from tfopt.cli.models import check_folder
from tfopt.cli.on_target import TargetOption, target_setting
from tfopt.cli.screen import ELSEWHERE, open_console, print_json, print_line, relative_path
from tfopt.cli.words import UseOption, install_schema

GoalOption = Annotated[str, typer.Option("--goal", help="What is wanted of the file: {GOALS}.", autocompletion=goals)]


def init(
    model: Annotated[
        str, typer.Argument(help="A .keras or .h5 file, a SavedModel folder of Keras 2, or file.py:function.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Samples: x.npz (arrays by the names of inputs and outputs, or x_train, y_train, x_test, y_test), "
            "x.npy, or a recipe's data: keras:mnist, tfds:NAME, file.py:function.",
        ),
    ] = None,
    goal: GoalOption = "safe",
    target: TargetOption = "litert",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The recipe to write; MODEL.yaml here.")] = None,
    use: UseOption = None,
    trust: Annotated[bool, typer.Option("--trust", help="Load Python code that the model's file carries.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over files that are there.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a recipe for a model by looking at it and at samples of its data. It is validated before it is written."""
    from tfopt.drafting.draft import Request, draft
    from tfopt.durable_files import storage_errors, write_together
    from tfopt.output_capture import captured
    from tfopt.recipe.json_schema import SCHEMA_FILE, schema_line

    answer = Answer(as_json, quiet)
    with answer.errors():
        recipe = out or Path(f"{Path(os.path.abspath(model.rpartition(':')[0] or model)).stem}.yaml")
        _check(recipe, goal, target or "litert", force)
        request = Request(model, recipe, data, goal, target_setting(target or "litert"), tuple(use or ()), trust)
        with captured():  # TensorFlow prints when it is imported
            made = draft(request, schema_line(recipe, recipe.parent / SCHEMA_FILE))
        _check_absent(made.files, force)
        with storage_errors(recipe, ELSEWHERE):
            install_schema(recipe.parent, use)
            write_together({file: text.encode() for file, text in made.files.items()})
    files = [relative_path(file) for file in made.files]
    following = f"tfopt {'run' if made.runs else 'validate'} {shlex.quote(str(files[0]))}"
    if as_json:
        print_json(
            {"files": [str(file) for file in made.files], "runs": made.runs, "seen": made.seen, "next": following}
        )
    elif quiet:
        print_path(files[0])
    else:
        console = open_console()
        for line in (*made.seen, *(f"file {file}" for file in files), f"next {following}"):
            print_line(console, line)


def _check(recipe: Path, goal: str, target: str, force: bool) -> None:
    """Refuses what can be told before the model is looked at."""
    from tfopt.cli.on_target import in_options
    from tfopt.drafting.goals import GOALS
    from tfopt.errors import InputError, did_you_mean
    from tfopt.recipe.export import Export
    from tfopt.recipe.target import TARGETS
    from tfopt.recipe.yaml_source import is_recipe

    if goal not in GOALS:
        raise InputError(f"there is no goal {goal!r}. {did_you_mean(goal, GOALS)}")
    if not is_recipe(recipe):
        raise InputError(f"a recipe is a .yaml file. Received: --out {recipe}.")
    with in_options():
        export = Export(target=target_setting(target))
    TARGETS[export.target].check_installed()
    check_folder(recipe)
    _check_absent([recipe], force)


def _check_absent(files: Iterable[Path], force: bool) -> None:
    from tfopt.errors import InputError

    for file in map(relative_path, files):
        if file.exists() and not force:
            raise InputError(f"{file} is there already. Name another file with --out, or write over it with --force.")

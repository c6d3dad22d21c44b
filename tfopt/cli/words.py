"""The commands that describe what a recipe can contain: `stages` and `schema`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tfopt.cli.screen import open_console

UseOption = Annotated[list[Path] | None, typer.Option("--use", help="A Python file with stages of your own.")]


def _stages_with(use: list[Path] | None) -> Any:
    """All stages by kind, including those of a user's files."""
    from tfopt.output_capture import captured
    from tfopt.recipe.stage import known_stages, register
    from tfopt.user_code import find_file, import_file

    known_stages()  # before a user's file, whose stages must not take their words
    for file in use or ():
        with captured():
            register(import_file(find_file(str(file), Path.cwd())))
    return known_stages()


def stages(
    kind: Annotated[str | None, typer.Argument(help="One stage, for its settings.")] = None, use: UseOption = None
) -> None:
    """List the stages, or the settings of one."""
    from rich.table import Table

    from tfopt.errors import InputError, did_you_mean
    from tfopt.recipe.settings import OneOf

    known = _stages_with(use)
    console = open_console()
    if kind is None:
        for name, stage in known.items():
            first = "".join((stage.__doc__ or "").strip().splitlines()[:1])
            console.print(f"{name:<14} {stage.takes} -> {stage.gives}  {first}", markup=False, highlight=False)
        return
    if kind not in known:
        raise InputError(f"there is no stage {kind!r}. {did_you_mean(kind, known)}")
    console.print((known[kind].__doc__ or "").strip(), markup=False, highlight=False)
    table = Table("setting", "default", "what it is", show_lines=False)
    for name, field in known[kind].model_fields.items():
        default = "required" if field.is_required() else str(field.default)
        options = [option for option in field.metadata if isinstance(option, OneOf)]
        words = [f"{word}: {about.rstrip('.')}." for option in options for word, about in option.meanings().items()]
        table.add_row(name, default, " ".join((field.description or "").split() + words))
    console.print(table, markup=False)


def schema(use: UseOption = None) -> None:
    """Print the JSON schema of recipes, for an editor that completes and checks YAML."""
    import json

    from tfopt.recipe.json_schema import json_schema

    _stages_with(use)
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")

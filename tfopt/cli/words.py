"""The commands that describe what a recipe can contain: `stages` and `schema`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tfopt.cli.screen import open_console

UseOption = Annotated[
    list[Path] | None, typer.Option("--use", help="A Python file with stages of your own, or a recipe that names some.")
]


def _stages_with(use: list[Path] | None) -> Any:
    """All stages by kind, including those of a user's files."""
    from tfopt.output_capture import captured
    from tfopt.recipe.stage import known_stages, register
    from tfopt.user_code import find_file, import_file

    known_stages()  # before a user's file, whose stages must not take their words
    for file in use or ():
        for path in _files_of(find_file(str(file), Path.cwd())):
            with captured():
                register(import_file(path))
    return known_stages()


def _files_of(file: Path) -> list[Path]:
    """A Python file itself, or those that a recipe names under `use`."""
    from tfopt.recipe.yaml_source import read_yaml
    from tfopt.user_code import find_file

    if file.suffix not in (".yaml", ".yml"):
        return [file]
    named = read_yaml(file).get("use") or ()
    return [find_file(str(other), file.parent) for other in ([named] if isinstance(named, str) else named)]


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
        way = "" if use else " One of your own is found with --use and its file."
        raise InputError(f"there is no stage {kind!r}. {did_you_mean(kind, known)}{way}")
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

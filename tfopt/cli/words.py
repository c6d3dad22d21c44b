"""The commands that describe what a recipe can contain: `stages` and `schema`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tfopt.cli.completion import stage_kinds
from tfopt.cli.screen import ELSEWHERE, open_console, print_line, relative_path

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
    from tfopt.recipe.yaml_source import is_recipe, read_yaml
    from tfopt.user_code import find_file

    if not is_recipe(file):
        return [file]
    named = read_yaml(file).get("use") or ()
    return [find_file(str(other), file.parent) for other in ([named] if isinstance(named, str) else named)]


def stages(
    kind: Annotated[str | None, typer.Argument(help="One stage, for its settings.", autocompletion=stage_kinds)] = None,
    use: UseOption = None,
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
            print_line(console, f"{name:<14} {stage.takes} -> {stage.gives}  {first}")
        return
    if kind not in known:
        way = "" if use else " One of your own is found with --use and its file."
        raise InputError(f"there is no stage {kind!r}. {did_you_mean(kind, known)}{way}")
    print_line(console, (known[kind].__doc__ or "").strip())
    table = Table("setting", "default", "what it is", show_lines=False)
    for name, field in known[kind].model_fields.items():
        default = "required" if field.is_required() else str(field.default)
        options = [option for option in field.metadata if isinstance(option, OneOf)]
        words = [f"{word}: {about.rstrip('.')}." for option in options for word, about in option.meanings().items()]
        table.add_row(name, default, " ".join((field.description or "").split() + words))
    console.print(table, markup=False)


def schema(
    recipes: Annotated[
        list[Path] | None, typer.Argument(help="With --install: recipes that get the line at their head.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Write the schema to .tfopt/recipe.schema.json, for the editor.")
    ] = False,
    use: UseOption = None,
) -> None:
    """Print the JSON schema of recipes, or install it for an editor that completes and checks YAML."""
    from tfopt.errors import InputError

    if install:
        _install(recipes or [], use)
        return
    if recipes:
        raise InputError(f"recipes get their line with --install. Received: {recipes[0]} without it.")
    sys.stdout.write(_schema_text(use))


def _schema_text(use: list[Path] | None) -> str:
    """The schema as JSON, of the stages of a user's files too."""
    import json

    from tfopt.recipe.json_schema import json_schema

    _stages_with(use)
    return json.dumps(json_schema(), indent=2) + "\n"


def install_schema(folder: Path, use: list[Path] | None) -> Path:
    """Writes the schema where the line at the head of recipes looks for it; returns its file."""
    from tfopt.durable_files import storage_errors, write
    from tfopt.recipe.json_schema import SCHEMA_FILE

    file, text = folder / SCHEMA_FILE, _schema_text(use)
    with storage_errors(file, ELSEWHERE):
        file.parent.mkdir(exist_ok=True)
        write(file, text)
    return file


def _install(recipes: list[Path], use: list[Path] | None) -> None:
    """Installs the schema in the working directory, and puts its line at the head of recipes."""
    from tfopt.durable_files import storage_errors, write
    from tfopt.recipe.json_schema import SCHEMA_FILE, schema_line, with_schema_line
    from tfopt.recipe.yaml_source import read_yaml

    for recipe in recipes:
        read_yaml(recipe)  # before anything is written
    file, console = install_schema(Path.cwd(), use), open_console()
    lines = [f"file {relative_path(file)}"]
    for recipe in recipes:
        text = recipe.read_text(encoding="utf-8")
        if (changed := with_schema_line(text, schema_line(recipe, file))) == text:
            continue
        with storage_errors(recipe, ELSEWHERE):
            write(recipe, changed)
        lines.append(f"line {recipe}")
    if not recipes:
        lines.append(f"line # {schema_line(Path('recipe.yaml'), file)}")
        lines.append(
            f'or   "yaml.schemas": {{"{SCHEMA_FILE.as_posix()}": "pipelines/*.yaml"}} in .vscode/settings.json'
        )
    for line in lines:
        print_line(console, line)

"""The `tfopt` command. Each subcommand imports its room when it is chosen, so that help comes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    help="A Keras 3 model and a short recipe in; the smallest, fastest .tflite that keeps its accuracy out.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeFile = Annotated[Path, typer.Argument(help="A YAML recipe, such as pipelines/digits.yaml.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder for results.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Data to use instead of the recipe's, such as npz:/data/mnist.npz.")
]
SAVED_MODELS = Path("saved_models")
LOG_TAIL = 20
PIPE_WIDTH = 120
INTERRUPTED = 130


@app.command()
def run(recipe: RecipeFile, out: Out = SAVED_MODELS, data: DataOption = None, seed: int | None = None) -> None:
    """Run a recipe. Running again goes on from where it stopped, and reuses what has not changed."""
    from tfopt import pipeline
    from tfopt.errors import GateError
    from tfopt.report import console as screen

    console = _console()
    loaded = _load(recipe, data, seed)
    try:
        result = pipeline.run(loaded, out, screen.progress(console))
    except GateError:
        _show_folder(console, out / loaded.name)
        raise
    console.print(screen.table(result.artifacts))
    console.print(f"file    {_near(result.path)}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"report  {_near(result.folder / 'report.md')}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def validate(
    recipe: RecipeFile,
    data: DataOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="The words and the chain only; loads no model.")] = False,
) -> None:
    """Check a recipe without computing: its words, its chain, its model, data and patterns."""
    from tfopt import pipeline

    loaded = _load(recipe, data, None)
    steps = loaded.chain() if quick else pipeline.validate(loaded)
    console = _console()
    for step in steps:
        console.print(f"{step.name}  <- {', '.join(step.parents)}", markup=False, highlight=False)
    console.print(f"{recipe} can run.", markup=False, highlight=False)


@app.callback()
def _tfopt(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from tfopt import __version__

        typer.echo(f"tfopt {__version__}")
        raise typer.Exit


UseOption = Annotated[list[Path] | None, typer.Option("--use", help="A Python file with stages of your own.")]


def _builtin_and(use: list[Path] | None) -> Any:
    """The stages, with those of a user's files."""
    from tfopt.noise import captured
    from tfopt.reference import find_file, import_file
    from tfopt.stages.base import builtin, register

    known = builtin()
    for file in use or ():
        with captured():
            register(import_file(find_file(str(file), Path.cwd())))
    return known


@app.command()
def stages(
    kind: Annotated[str | None, typer.Argument(help="One stage, for its settings.")] = None, use: UseOption = None
) -> None:
    """List the stages, or the settings of one."""
    from rich.table import Table

    from tfopt.errors import InputError
    from tfopt.knobs import did_you_mean

    known = _builtin_and(use)
    console = _console()
    if kind is None:
        for name, stage in known.items():
            first = (stage.__doc__ or "").strip().splitlines()[0]
            console.print(f"{name:<10} {stage.takes} -> {stage.gives}  {first}", markup=False, highlight=False)
        return
    if kind not in known:
        raise InputError(f"there is no stage {kind!r}. {did_you_mean(kind, known)}")
    console.print((known[kind].__doc__ or "").strip(), markup=False, highlight=False)
    table = Table("setting", "default", "what it is", show_lines=False)
    for name, field in known[kind].model_fields.items():
        default = "required" if field.is_required() else str(field.default)
        table.add_row(name, default, " ".join((field.description or "").split()))
    console.print(table, markup=False)


@app.command()
def schema(use: UseOption = None) -> None:
    """Print the JSON schema of recipes, for an editor that completes and checks YAML."""
    import json

    from tfopt.recipe import json_schema

    _builtin_and(use)
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .keras, .h5 or .tflite file.")],
    trust: Annotated[bool, typer.Option("--trust", help="Load Python code that the file carries.")] = False,
) -> None:
    """Show what is in a model file: layers or ops, dtypes, bytes, zeros."""
    from rich.table import Table

    from tfopt.contents import inspect as look

    contents = look(file, trust)
    numbers = ("dtype", "output", "parameters", "bytes", "zeros")
    table = Table("op" if contents.format == "tflite" else "layer", "kind")
    for header in numbers:
        table.add_column(header, justify="right")
    for part in contents.parts:
        share = f"{part.zeros / part.parameters:.1%}" if part.parameters else "-"
        table.add_row(part.name, part.kind, part.dtype, part.shape, f"{part.parameters:,}", f"{part.bytes:,}", share)
    console = _console()
    console.print(table, markup=False)
    total = f"{contents.parameters:,} parameters, {contents.zeros:,} of them zero; {contents.bytes:,} B"
    for line in (f"in   {', '.join(contents.inputs)}", f"out  {', '.join(contents.outputs)}"):
        console.print(line, markup=False, highlight=False)
    console.print(f"{total}, gzip -9 {contents.gzip_bytes:,} B", markup=False, highlight=False)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A recipe's folder, such as saved_models/digits.")],
    json_only: Annotated[bool, typer.Option("--json", help="Print report.json instead of the table.")] = False,
) -> None:
    """Write report.json and report.md again from the committed results, and show the table."""
    import json

    from tfopt.artifact import storage_errors
    from tfopt.pipeline import Result
    from tfopt.report import files

    artifacts = files.collect(folder)
    with storage_errors(folder):
        files.write(Result(artifacts, (), folder.resolve()))
    if json_only:
        sys.stdout.write(json.dumps(files.as_record(artifacts), indent=2, default=str) + "\n")
    else:
        _show_folder(_console(), folder)


@app.command()
def clean(
    recipe: RecipeFile,
    out: Out = SAVED_MODELS,
    partial: Annotated[bool, typer.Option("--partial", help="Only what an interrupted run left half-done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove the results of a recipe."""
    from tfopt import pipeline

    loaded = _load(recipe, None, None)
    folder = out / loaded.name
    if folder.is_dir() and not yes and not partial:
        typer.confirm(f"Remove {folder} and all results in it?", abort=True)
    removed = pipeline.clean(loaded, out, partial)
    for path in removed:
        _console().print(f"removed {_near(path)}", markup=False, highlight=False)
    if not removed:
        _console().print(f"nothing to remove in {folder}", markup=False, highlight=False)


def main() -> None:
    """Runs the command: a TfoptError is one line and its exit code."""
    from tfopt.errors import TfoptError

    try:
        app()
    except TfoptError as error:
        sys.stderr.write(f"{error}\n")
        if error.log and (lines := error.log.read_text(errors="replace").splitlines()[-LOG_TAIL:]):
            sys.stderr.write(f"-- the end of {_near(error.log)} --\n" + "\n".join(lines) + "\n")
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # Typer turns Ctrl-C into this
            sys.stderr.write("interrupted: run the same command to go on\n")
        raise


def _load(recipe: Path, data: str | None, seed: int | None) -> Any:
    from tfopt.recipe import Recipe

    changes: dict[str, Any] = {"data": data} if data is not None else {}
    if seed is not None:
        changes["seed"] = seed
    return Recipe.load(recipe, **changes)


def _show_folder(console: Console, folder: Path) -> None:
    from tfopt.report import console as screen
    from tfopt.report import files

    console.print(screen.table(files.collect(folder)))
    console.print(f"report  {_near(folder.resolve() / 'report.md')}", markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    from tfopt.noise import terminal

    stream = terminal()
    return Console(file=stream) if stream.isatty() else Console(file=stream, width=PIPE_WIDTH, soft_wrap=True)


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

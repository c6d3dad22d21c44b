"""The commands that work on a recipe and its results."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfopt.cli.screen import open_console, print_warnings, relative_path, shown_later, shown_log

if TYPE_CHECKING:
    from rich.console import Console

    from tfopt.pipeline.runner import Result
    from tfopt.recipe.artifact import Artifact

RecipeFile = Annotated[Path, typer.Argument(help="A YAML recipe, such as pipelines/digits.yaml.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder for results.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Data to use instead of the recipe's, such as mnist.npz or keras:mnist.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show what libraries and your own code print; run.log has it as well.")
]
SAVED_MODELS = Path("saved_models")


def run(
    recipe: RecipeFile,
    out: Out = SAVED_MODELS,
    data: DataOption = None,
    seed: int | None = None,
    strategy: Annotated[
        str | None, typer.Option("--strategy", help="none, mirrored, multi_worker or tpu, instead of the recipe's.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Train with so many processes on this machine (multi_worker).")
    ] = 1,
    verbose: VerboseOption = False,
) -> None:
    """Run a recipe. Running again goes on from where it stopped, and reuses what has not changed."""
    from tfopt.errors import GateError
    from tfopt.pipeline import runner
    from tfopt.report import console as screen

    console = open_console()
    loaded = load(recipe, data, seed, strategy)
    if workers > 1:
        raise typer.Exit(_launch(recipe, workers, strategy, console))
    try:
        with shown_later(), shown_log(console, out / loaded.name if verbose else None):
            result = runner.run(loaded, out, screen.progress(console))
        if not result.leads:
            return
    except GateError:
        show_folder(console, out / loaded.name)
        raise
    show_result(console, result)


def _launch(recipe: Path, workers: int, strategy: str | None, console: Console) -> int:
    """Runs this command once for each worker."""
    from tfopt.errors import InputError
    from tfopt.pipeline.launcher import launch

    if strategy not in (None, "multi_worker"):
        raise InputError(f"--workers is strategy multi_worker. Leave --strategy out. Received: {strategy}.")
    command = [
        sys.executable,
        "-m",
        "tfopt",
        *sys.argv[1:],
        "--workers",
        "1",
        *([] if strategy else ["--strategy", "multi_worker"]),
    ]
    return launch(command, workers, notify=lambda line: console.print(line, markup=False, highlight=False))


def validate(
    recipe: RecipeFile,
    data: DataOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="The words and the chain only; loads no model.")] = False,
) -> None:
    """Check a recipe without computing: its words, its chain, its model, data and patterns."""
    from tfopt.pipeline import runner

    loaded = load(recipe, data, None)
    steps = loaded.chain() if quick else runner.validate(loaded)
    console = open_console()
    for step in steps:
        console.print(f"{step.name}  <- {', '.join(step.parents)}", markup=False, highlight=False)
    console.print(f"{recipe} can run.", markup=False, highlight=False)


def report(
    folder: Annotated[
        Path,
        typer.Argument(help="A recipe such as pipelines/digits.yaml, or its folder, saved_models/digits."),
    ],
    out: Out = SAVED_MODELS,
    json_only: Annotated[bool, typer.Option("--json", help="Print report.json instead of the table.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open report.html in the browser.")] = False,
) -> None:
    """Write report.json, report.md and report.html again from the committed results, and show the table."""
    import json

    from tfopt.recipe.artifact import PAGE, storage_errors
    from tfopt.report import summary

    if folder.suffix in (".yaml", ".yml") and folder.is_file():
        folder = out / load(folder, None, None).name
    artifacts = summary.collect(folder)
    with storage_errors(folder):
        summary.write(artifacts, folder.resolve())
    if json_only:
        sys.stdout.write(json.dumps(summary.as_record(artifacts), indent=2, default=str) + "\n")
    else:
        show_folder(open_console(), folder)
    if open_page:
        _open(folder.resolve() / PAGE)


def _open(page: Path) -> None:
    """Opens a page in the browser, if there is one; its path has been told."""
    import webbrowser

    if not webbrowser.open(page.as_uri()):
        sys.stderr.write(f"no browser is found on this machine. The page is {relative_path(page)}.\n")


def clean(
    recipe: RecipeFile,
    out: Out = SAVED_MODELS,
    partial: Annotated[bool, typer.Option("--partial", help="Only what an interrupted run left half-done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove the results of a recipe."""
    from tfopt.pipeline import runner

    loaded = load(recipe, None, None)
    folder = out / loaded.name
    if folder.is_dir() and not yes and not partial:
        typer.confirm(f"Remove {folder} and all results in it?", abort=True)
    removed = runner.clean(loaded, out, partial)
    for path in removed:
        open_console().print(f"removed {relative_path(path)}", markup=False, highlight=False)
    if not removed:
        open_console().print(f"nothing to remove in {folder}", markup=False, highlight=False)


def load(
    recipe: Path, data: str | None, seed: int | None, strategy: str | None = None, storage: str | None = None
) -> Any:
    """Loads a recipe, with data, seed and runtime settings overridden by the command line."""
    from tfopt.recipe.recipe import Recipe

    changes: dict[str, Any] = {"data": data} if data is not None else {}
    if seed is not None:
        changes["seed"] = seed
    if runtime := {k: v for k, v in (("strategy", strategy), ("storage", storage)) if v is not None}:
        changes["runtime"] = runtime
    return Recipe.load(recipe, **changes)


def show_result(console: Console, result: Result) -> None:
    """Shows the table of a run, its file and its reports."""
    from tfopt.report import console as screen

    console.print(screen.table(result.artifacts))
    _show_warnings(result.artifacts)
    console.print(f"file    {relative_path(result.path)}", markup=False, highlight=False, soft_wrap=True)
    _show_reports(console, result.folder)


def show_folder(console: Console, folder: Path) -> None:
    """Shows the table and reports of a folder with results."""
    from tfopt.report import console as screen
    from tfopt.report import summary

    artifacts = summary.collect(folder)
    console.print(screen.table(artifacts))
    _show_warnings(artifacts)
    _show_reports(console, folder.resolve())


def _show_warnings(artifacts: Mapping[str, Artifact]) -> None:
    print_warnings(f"{name}: {sentence}" for name, artifact in artifacts.items() for sentence in artifact.warnings)


def _show_reports(console: Console, folder: Path) -> None:
    from tfopt.recipe.artifact import PAGE

    if (page := folder / PAGE).exists():
        console.print(f"report  {relative_path(page)}", markup=False, highlight=False, soft_wrap=True)

"""The commands that work on a recipe and its results."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfopt.cli.answer import Answer, JsonOption, QuietOption, VerboseOption, print_path
from tfopt.cli.completion import words
from tfopt.cli.screen import open_console, print_json, print_line, print_warnings, relative_path, shown_later

if TYPE_CHECKING:
    from rich.console import Console

    from tfopt.pipeline.result import Result
    from tfopt.recipe.artifact import Artifact
    from tfopt.recipe.recipe import Recipe

RecipeFile = Annotated[Path, typer.Argument(help="A YAML recipe, such as pipelines/digits.yaml.")]
RunFolder = Annotated[
    Path, typer.Argument(help="A recipe such as pipelines/digits.yaml, or its folder, saved_models/digits.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder for results.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Data to use instead of the recipe's, such as mnist.npz or keras:mnist.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of all random choices, instead of the recipe's.")]
RunUse = Annotated[bool, typer.Option("--use", help="Run the recipe's files of `use:`, for stages of your own.")]
SAVED_MODELS = Path("saved_models")


def run(
    recipe: RecipeFile,
    out: Out = SAVED_MODELS,
    data: DataOption = None,
    seed: SeedOption = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            help="none, mirrored, multi_worker or tpu, instead of the recipe's.",
            autocompletion=words("none", "mirrored", "multi_worker", "tpu"),
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Train with so many processes on this machine (multi_worker).")
    ] = 1,
    mlflow: Annotated[
        bool,
        typer.Option("--mlflow", help="Record the run in MLflow, where MLFLOW_TRACKING_URI and its siblings say."),
    ] = False,
    wandb: Annotated[
        bool,
        typer.Option("--wandb", help="Record the run in Weights & Biases, where WANDB_PROJECT and its siblings say."),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a recipe. Running again goes on from where it stopped, and reuses what has not changed."""
    answer = Answer(as_json, quiet, verbose)
    with answer.errors():
        loaded = load(recipe, data, seed, strategy)
        if workers > 1:
            raise typer.Exit(_launch(recipe, workers, strategy, open_console()))
        trackers = [name for name, asked in (("mlflow", mlflow), ("wandb", wandb)) if asked]
        execute(loaded, out, answer, trackers=trackers)


def execute(recipe: Recipe, out: Path, answer: Answer, join: bool = False, trackers: Sequence[str] = ()) -> None:
    """Runs a recipe and shows its result, that of a failed accuracy check too.

    Args:
        recipe: The recipe.
        out: The folder for results.
        answer: What is printed.
        join: Take part in the work of another process that runs it.
        trackers: Record the run with these too, `mlflow` or `wandb`.

    Raises:
        TfoptError: What the run raises.
    """
    from tfopt.errors import GateError
    from tfopt.pipeline import runner

    console = open_console()
    try:
        with shown_later(), answer.log(out / recipe.name):
            result = runner.run(recipe, out, answer.progress(console, trackers if _leads(recipe) else ()), join)
    except GateError as error:
        show_result(console, error.result, answer)
        raise
    if result.leads:
        show_result(console, result, answer)


def _leads(recipe: Recipe) -> bool:
    """Whether this process is the one of its cluster that makes the results; one alone is."""
    from tfopt.training.cluster import cluster

    return recipe.runtime.strategy != "multi_worker" or cluster()[1] == 0


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
    return launch(command, workers, notify=lambda line: print_line(console, line))


def validate(
    recipe: RecipeFile,
    data: DataOption = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Settings and the order of stages only; loads no model and runs no code of yours."
        ),
    ] = False,
    use: RunUse = False,
    as_json: JsonOption = False,
) -> None:
    """Check a recipe without computing: settings, order of stages, model, data and layer patterns."""
    from tfopt.pipeline import runner
    from tfopt.report.stage_title import title

    with Answer(as_json).errors():
        loaded = load(recipe, data, None, run_code=use or not quick)
        steps = loaded.chain() if quick else runner.validate(loaded)
    if as_json:
        chain = [{"name": step.name, "kind": step.stage.kind, "parents": step.parents} for step in steps]
        print_json({"recipe": str(recipe), "name": loaded.name, "steps": chain, "not_run": loaded.unread})
        return
    console = open_console()
    for step in steps:
        print_line(console, f"{step.name}  <- {', '.join(map(title, step.parents))}")
    _show_unread(console, loaded)
    print_line(console, f"{recipe} can run.")


def report(
    folder: RunFolder,
    out: Out = SAVED_MODELS,
    json_only: Annotated[bool, typer.Option("--json", help="Print report.json instead of the table.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open report.html in the browser.")] = False,
    use: RunUse = False,
) -> None:
    """Write report.json, report.md and report.html again from the committed results, without running code of yours."""
    from tfopt.durable_files import storage_errors
    from tfopt.errors import StorageError
    from tfopt.recipe.artifact import PAGE, RECIPE
    from tfopt.recipe.yaml_source import is_recipe
    from tfopt.report import summary

    with Answer(json_only).errors():
        written = is_recipe(folder) and folder.is_file()
        recipe = load(folder, None, None, run_code=use) if written else None
        folder = out / recipe.name if recipe else folder
        if use and not recipe:
            load(folder / RECIPE, None, None)  # whose stages are known from then on
        artifacts = summary.collect(folder)
    unwritten = None
    try:
        with storage_errors(folder, "The table is of its results; the reports in it are as they were."):
            summary.write(artifacts, folder.resolve())
    except StorageError as error:  # results can be read where nothing can be written
        unwritten = error
    if json_only:
        print_json(summary.as_record(artifacts))
    else:
        show_folder(open_console(), folder, recipe)
    if unwritten:
        sys.stderr.write(f"note: {unwritten}\n")
    if open_page:
        _open(folder.resolve() / PAGE)


def _open(page: Path) -> None:
    """Opens a page in the browser, if there is one; its path has been told."""
    import webbrowser

    if not webbrowser.open(page.as_uri()):
        sys.stderr.write(f"no browser is found on this machine. The page is {relative_path(page)}.\n")


def clean(
    recipe: RunFolder,
    out: Out = SAVED_MODELS,
    partial: Annotated[bool, typer.Option("--partial", help="Only what an interrupted run left half-done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove the results of a recipe; none of its code is run."""
    from tfopt.pipeline import runner

    folder = recipe if recipe.is_dir() else out / load(recipe, None, None, run_code=False).name
    removed = runner.clean_folder(folder, partial, lambda: yes or partial or _agreed(folder))
    for path in removed:
        print_line(open_console(), f"removed {relative_path(path)}")
    if not removed:
        print_line(open_console(), f"nothing to remove in {folder}")


def _agreed(folder: Path) -> bool:
    """Asks whether the results may go; where nobody can answer, the option that answers is named."""
    from tfopt.errors import InputError

    question = f"Remove {folder} and all results in it?"
    try:
        agreed = typer.confirm(question)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo()
        raise InputError(f"nobody answered whether to remove {folder}. Say so with --yes.") from None
    if not agreed:
        raise typer.Abort
    return True


def load(
    recipe: Path,
    data: str | None,
    seed: int | None,
    strategy: str | None = None,
    storage: str | None = None,
    run_code: bool = True,
) -> Any:
    """Loads a recipe, with data, seed and runtime settings overridden by the command line."""
    from tfopt.recipe.recipe import Recipe

    changes: dict[str, Any] = {"data": _from_here(data)} if data is not None else {}
    if seed is not None:
        changes["seed"] = seed
    if runtime := {k: v for k, v in (("strategy", strategy), ("storage", storage)) if v is not None}:
        changes["runtime"] = runtime
    return Recipe.load(recipe, run_code, **changes)


def _from_here(data: str) -> str:
    """Data that a command names, of which a file in the working directory comes before one beside the recipe."""
    file, colon, function = data.partition(".py:")
    path = Path(os.path.expandvars(f"{file}.py" if colon else data.removeprefix("npz:")))
    if path.suffix not in (".npz", ".py") or not path.is_file():
        return data
    return f"{path.absolute()}:{function}" if colon else f"npz:{path.absolute()}"


def show_result(console: Console, result: Result, answer: Answer) -> None:
    """Shows the table of a run, its file and its reports; or its record, or the path of its file."""
    from tfopt.report import console as screen
    from tfopt.report import summary

    if answer.as_json:
        where = {"file": str(result.path), "folder": str(result.folder), "reused": result.reused}
        print_json({**where, **summary.as_record(result.artifacts)})
    elif answer.quiet:
        print_path(result.path)
    else:
        console.print(screen.table(result.artifacts))
        _show_notes(console, result.artifacts)
    _show_warnings(result.artifacts)
    if not answer.plain:
        return
    print_line(console, f"file    {relative_path(result.path)}")
    for line in _for_devices(result):
        print_line(console, line)
    for line in screen.flashing(shlex.quote(str(relative_path(result.folder))), result.artifacts):
        print_line(console, line)
    _show_reports(console, result.folder)


def _for_devices(result: Result) -> list[str]:
    """The lines on what targets are given in place of the run's file: their own files beside it."""
    found = result.final.device_files
    return [f"device  {relative_path(file)}  for {target}" for target, file in found.items()]


def show_folder(console: Console, folder: Path, recipe: Recipe | None = None) -> None:
    """Shows the table and reports of a folder with results, and how its run stands against the recipe as it is now."""
    from tfopt.report import console as screen
    from tfopt.report import summary
    from tfopt.report.standing import standing

    artifacts = summary.collect(folder)
    if summary.rows(artifacts):
        console.print(screen.table(artifacts))
    _show_notes(console, artifacts)
    _show_warnings(artifacts)
    for line in standing(folder.resolve(), artifacts, recipe):
        print_line(console, line)
    _show_reports(console, folder.resolve())


def _show_notes(console: Console, artifacts: Mapping[str, Artifact]) -> None:
    from tfopt.report.console import slower, unmeasured

    for line in filter(None, (unmeasured(artifacts), slower(artifacts))):
        print_line(console, line)


def _show_warnings(artifacts: Mapping[str, Artifact]) -> None:
    print_warnings(f"{name}: {sentence}" for name, artifact in artifacts.items() for sentence in artifact.warnings)


def _show_unread(console: Console, recipe: Recipe) -> None:
    """Says which stages were taken as they are written, as their code was not run."""
    if unread := recipe.unread:
        line = f"note  {', '.join(unread)}: of your own code, which was not run; --use runs it and checks the settings"
        print_line(console, line)


def _show_reports(console: Console, folder: Path) -> None:
    from tfopt.recipe.artifact import PAGE

    if (page := folder / PAGE).exists():
        print_line(console, f"report  {relative_path(page)}")

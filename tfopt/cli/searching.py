"""The command `search`: a recipe run by several processes that share its searches."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tfopt.cli.answer import Answer, VerboseOption
from tfopt.cli.recipes import SAVED_MODELS, DataOption, Out, RecipeFile, SeedOption, execute, load
from tfopt.cli.screen import open_console, print_line

if TYPE_CHECKING:
    from rich.console import Console


def search(
    recipe: RecipeFile,
    out: Out = SAVED_MODELS,
    data: DataOption = None,
    seed: SeedOption = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes on this machine.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            help="Where the processes of all machines meet: postgresql://user:password@host/name, or a journal file on "
            "a disk that all share. A journal file beside the results if not given.",
        ),
    ] = None,
    verbose: VerboseOption = False,
) -> None:
    """Run a recipe together with every other process that runs this command on it, here or on other machines.

    One of them runs the stages; at a search all work on its candidates. They may come and go: what a lost one was
    training is begun again by another.
    """
    from tfopt.errors import InputError

    loaded = load(recipe, data, seed, storage=storage)
    if not any(stage.shared for stage in loaded.stages):
        raise InputError(f"{recipe} has no stage whose work can be shared, such as search. Use: tfopt run {recipe}")
    if workers > 1:
        raise typer.Exit(_launch(workers, any(stage.has_chief for stage in loaded.stages), open_console()))
    execute(loaded, out, Answer(verbose=verbose), join=True)


def _launch(workers: int, tunes: bool, console: Console) -> int:
    """Runs this command in several processes and restarts killed ones; tuning adds a chief process."""
    from tfopt.pipeline.process_pool import ProcessPool
    from tfopt.subprocesses import free_ports

    command = [sys.executable, "-m", "tfopt", *sys.argv[1:], "--workers", "1"]  # of an option the last one counts
    environments: list[dict[str, str]] = [{} for _ in range(workers)]
    if tunes:
        address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free_ports(1)[0])}
        names = ["chief", *(f"tuner{number}" for number in range(workers))]
        environments = [{**address, "KERASTUNER_TUNER_ID": name} for name in names]
    return ProcessPool(command, environments, lambda line: print_line(console, line)).run()

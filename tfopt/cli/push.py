"""The command `push`: a run's file, model card and report to the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from tfopt.cli.answer import Answer, JsonOption
from tfopt.cli.recipes import SAVED_MODELS, Out, RunFolder, load
from tfopt.cli.screen import open_console, print_json, print_line


def push(
    run: RunFolder,
    repository: Annotated[str, typer.Argument(help="The repository of models, such as me/digits.")],
    out: Out = SAVED_MODELS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be pushed, and push nothing.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository that you alone see.")] = False,
    license: Annotated[
        str | None, typer.Option("--license", help="The hub's name of the license, such as apache-2.0.")
    ] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="The message of the commit.")] = "Made by tfopt",
    as_json: JsonOption = False,
) -> None:
    """Push a run to the Hugging Face hub: its last .tflite, model card, report and recipe, in one commit."""
    answer = Answer(as_json)
    with answer.errors():
        from tfopt.recipe.yaml_source import is_recipe
        from tfopt.report import hub

        hub.check_repository(repository)
        written = is_recipe(run) and run.is_file()
        folder = out / load(run, None, None, run_code=False).name if written else run
        files = hub.files_for_hub(folder, license)
        url = None if dry_run else hub.push(files, repository, private, message)
    if as_json:
        sizes = {name: len(content) for name, content in files.items()}
        print_json({"repository": repository, "files": sizes, "commit": url})
        return
    lines = [f"{name}  {len(content):,} bytes" for name, content in files.items()]
    lines.append(f"pushed  {url}" if url else f"nothing was pushed to {repository}: --dry-run")
    for line in lines:
        print_line(open_console(), line)

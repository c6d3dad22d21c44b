"""The command `learning-rate`: a learning rate finder on a recipe's training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfopt.cli.answer import Answer, JsonOption
from tfopt.cli.recipes import DataOption, RecipeFile, load
from tfopt.cli.screen import open_console, print_json, print_lines, progress_bar, write_page


def learning_rate(
    recipe: RecipeFile,
    stage: Annotated[
        str | None, typer.Option("--stage", help="The stage that trains; the recipe's first if not given.")
    ] = None,
    low: Annotated[float, typer.Option("--low", help="The first learning rate.")] = 1e-6,
    high: Annotated[float, typer.Option("--high", help="The last one.")] = 10.0,
    steps: Annotated[int, typer.Option("--steps", help="Batches to train, from the first to the last.")] = 100,
    data: DataOption = None,
    as_json: JsonOption = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a page with a chart to this .html file.")] = None,
) -> None:
    """Find a learning rate: it is raised at every batch until the loss grows. The recipe's results stay as they are."""
    from tfopt.cli.models import check_folder
    from tfopt.errors import InputError
    from tfopt.output_capture import captured
    from tfopt.pipeline.learning_rate import check, find_learning_rate

    with Answer(as_json).errors():
        if not 0 < low < high:
            raise InputError(f"--low is above 0 and below --high. Received: --low {low:g} --high {high:g}.")
        if plot is not None:
            check_folder(plot)
        loaded = load(recipe, data, None)
        plan = check(loaded, stage)
        console = open_console()
        with progress_bar(console, "learning rate") as part:
            with captured():
                from tfopt.training.learning_rate_finder import LearningRateFinder
            from tfopt.report import learning_rate as words

            finder = LearningRateFinder(low, high, steps)
            record = words.rates_record(find_learning_rate(plan, finder, stage, part), finder)
        write_page(plot, lambda: words.rates_page(loaded.name, record))
        if as_json:
            print_json(record)
            return
        print_lines(console, words.rates_lines(record), plot)

"""The command `compare`: any number of models on the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfopt.cli.answer import Answer, JsonOption
from tfopt.cli.completion import metrics
from tfopt.cli.models import Trust, check_folder
from tfopt.cli.recipes import SAVED_MODELS
from tfopt.cli.screen import open_console, print_json, print_lines, progress_bar, write_page


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders of runs, recipes, .tflite, .keras or .h5 files; the others are held against the first."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Labelled samples: an .npz file of x and y, or a recipe or its data, of which the test split counts. "
            "That of the runs if not given.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="A metric; the differences are of the first.", autocompletion=metrics),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long to time each file.")] = 1.0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")] = 1,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder that the runs of recipes are in.")
    ] = SAVED_MODELS,
    page: Annotated[Path | None, typer.Option("--page", help="Write a page to this .html file.")] = None,
    as_json: JsonOption = False,
    trust: Trust = False,
) -> None:
    """Compare models on the same samples: accuracy with what its differences are worth, bytes, latency."""
    from tfopt.report import comparison as words
    from tfopt.report.fitted_table import FittedTable

    console = open_console(error=as_json)
    with Answer(as_json).errors():
        from tfopt.pipeline.comparison import compare as run

        if page is not None:
            check_folder(page)
        with progress_bar(console, "compare") as part:
            found = run(
                *models, data=data, metrics=tuple(metric or ()), seconds=seconds, threads=threads, out=out, trust=trust,
                part=part,
            )  # fmt: skip
        write_page(page, lambda: words.page(found))
    if as_json:
        print_json(words.record(found))
        return
    table, paired = words.figures(found), words.differences(found)
    console.print(FittedTable(table, table.without("p90")))
    console.print(FittedTable(paired))
    lines = [words.lead(found), f"{words.BEST} is the best of a column", *words.sentences(found)]
    print_lines(console, lines, page)

"""What the sections on classes have in common: files with their outputs, and the picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tfopt.report.blocks import Figure, Table
from tfopt.report.charts import Matrix

Found = TypeVar("Found")
# Classes up to which a confusion matrix is drawn.
DRAWN = 40


def each_output(files: Mapping[str, Mapping[str, Found]]) -> Iterator[tuple[str, Found]]:
    """Each file's name, with the output's where there are several, and what was found of it.

    Args:
        files: What was found, by the name of the stage that made the file, then by output.
    """
    for file, outputs in files.items():
        for output, found in outputs.items():
            yield (file if len(outputs) == 1 else f"{file}, {output}"), found


def confusion(name: str, classes: Sequence[Any], counts: Sequence[Sequence[int]], table: Table | None = None) -> Figure:
    """The picture of a confusion matrix.

    Args:
        name: Name of the model.
        classes: Class ids.
        counts: Counts by true and given class.
        table: A table with the same in figures.
    """
    chart = Matrix(f"Confusion matrix of {name}", [str(label) for label in classes], counts, "class", "taken for")
    return Figure(chart, f"{name}: which class is taken for which, on the test split.", table)

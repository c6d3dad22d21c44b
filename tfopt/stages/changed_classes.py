"""The samples of the test split whose class is another one in a file than in the model that it is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.data.arrays import take
from tfopt.data.preview import MOST_BYTES, Preview, previews
from tfopt.errors import DataError
from tfopt.metrics import class_changes, keeps_class, same_share
from tfopt.recipe.details.verification import ClassChanges

if TYPE_CHECKING:
    from tfopt.data.splits import Samples
    from tfopt.metrics import Decision, Metric, Outputs
    from tfopt.recipe.stage import Context

# Largest number of classes that are reported one by one.
MOST_CLASSES = 100


def classified(metrics: Sequence[Metric], outputs: Outputs) -> Iterator[tuple[str, Decision | None]]:
    """The outputs that a metric takes for scores of classes, and how each decides, where not in the usual way."""
    for output, decisions in dict.fromkeys((m.output, m.decisions) for m in metrics if m.of_classes):
        name = output or next(iter(outputs))
        yield name, dict(decisions).get(name)


class ChangedClasses:
    """Collects what changed class in each file.

    Args:
        context: The context of the stage.
    """

    def __init__(self, context: Context):
        self._context = context
        self._files: dict[str, dict[str, dict[str, Any]]] = {}
        self._same: dict[str, float] = {}

    def add(
        self, file: str, against: str, metrics: Sequence[Metric], before: Callable[[], Outputs], after: Outputs
    ) -> None:
        """Compares a file with the model that it is held against.

        Args:
            file: Name of the stage that made the file.
            against: Name of the stage that made the model.
            metrics: The metrics of the file, which say what outputs are classes.
            before: Gives the model's outputs on the test split; called where an output is of classes.
            after: The file's outputs on the test split.
        """
        y = self._context.data.test.y
        decisions = list(classified(metrics, after))
        old = before() if decisions else {}
        alike = {name: way for name, way in decisions if name in old and old[name].shape == after[name].shape}
        if alike:
            self._files[file] = {
                name: {
                    "against": against,
                    **class_changes(labels_of(y, name), old[name], after[name], way, MOST_CLASSES),
                }
                for name, way in alike.items()
            }
            self._same[file] = same_share([keeps_class(old[name], after[name], way) for name, way in alike.items()])

    def detail(self) -> list[ClassChanges]:
        """The changes with their samples as they are shown; empty where no output is of classes."""
        if not self._files:
            return []
        outputs = [output for found in self._files.values() for output in found.values()]
        rows = sorted({sample["row"] for output in outputs for sample in output["samples"]})
        shown = [{"row": row, "inputs": inputs} for row, inputs in zip(rows, self._shown(rows), strict=True)]
        return [ClassChanges.from_json({"files": self._files, "shown": shown, "same": self._same})]

    def _shown(self, rows: Sequence[int]) -> list[dict[str, Preview]]:
        """The samples in these rows; a function of the user's that fails on one gives a warning, and plain figures."""
        if not rows:
            return []
        x, show = rows_of(self._context.data.test, rows), self._context.data.show
        try:
            return previews(x, show, MOST_BYTES)
        except DataError as error:
            self._context.told.append(f"the changed samples are shown without the data's own function: {error}")
            return previews(x, None, MOST_BYTES)


def labels_of(y: Any, output: str) -> Any:
    """The labels of one output."""
    return y[output] if isinstance(y, dict) else y


def rows_of(samples: Samples, rows: Sequence[int]) -> Any:
    """The inputs in some rows of a split, in their order; a split that is streamed is read up to the last of them."""
    found: list[Any] = []
    start = 0
    for chunk in samples.chunks():
        count = len(next(iter(chunk.values())) if isinstance(chunk, dict) else chunk)
        wanted = [row - start for row in rows if start <= row < start + count]
        found += [take(chunk, wanted)] if wanted else []
        start += count
        if start > rows[-1]:
            break
    if isinstance(found[0], Mapping):
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return np.concatenate(found)

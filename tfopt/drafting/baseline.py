"""How good a model is before anything is done to it, and how much worse its files may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.drafting.task import Task

# Test samples that the model is scored on.
SCORED = 1000
# A model that is this share of the way from guessing to the best has learned something.
LEARNED = 0.05
# The share of one class above which accuracy says little.
LARGE_CLASS = 0.8


@dataclass(frozen=True)
class Baseline:
    """The gated metric of a model, and what guessing comes to.

    Args:
        metric: The metric's name.
        higher_is_better: Whether more of it is better.
        score: The model's.
        guess: That of the same answer for every sample: the most frequent class, or the mean of the targets.
        samples: Test samples that it was taken on.
        fewest: Samples of the smaller of the two splits that files are scored on.
    """

    metric: str
    higher_is_better: bool
    score: float
    guess: float
    samples: int
    fewest: int

    @property
    def by_sample(self) -> float:
        """What one sample is of a metric from 0 to 1, rounded up."""
        return math.ceil(1000 / self.fewest) / 1000

    @property
    def is_a_guess(self) -> bool:
        """Whether the model is no better than guessing, as one that was not trained is.

        Never where guessing is without a fault, as on samples of one class: they tell nothing of a model.
        """
        if self.guess == (1.0 if self.higher_is_better else 0.0):
            return False
        if self.higher_is_better:
            return self.score <= self.guess + LEARNED * (1 - self.guess)
        return self.score >= (1 - LEARNED) * self.guess

    def allowed_drop(self, points: float) -> float:
        """How much worse a file may be, in the units of the metric.

        Args:
            points: The drop of a metric from 0 to 1, at least that of one sample. Of an error it is four times that
                share of the model's, or half that share of a guess's, whichever is more: a very small error has very
                small shares.
        """
        if self.higher_is_better:
            return max(points, self.by_sample)
        return float(f"{max(4 * points * self.score, 0.5 * points * self.guess):.2g}")


def metrics_for(tasks: Sequence[Task], model: Any, test: Any, loss: Any) -> dict[str, list[str]]:
    """The metrics of a recipe by output, the gated one first.

    They are those that a run would take, but for targets that are values never those of classes; and of labels most of
    which are one class the balanced accuracy comes before the accuracy.
    """
    from tfopt.errors import InputError
    from tfopt.metrics import known
    from tfopt.stages.scoring import metrics_on

    try:
        usual = metrics_on(model, test, (), loss)
    except InputError:  # some metric of the model does not take such targets
        usual = []
    found: dict[str, list[str]] = {}
    for task in tasks:
        own = [metric for metric in usual if metric.output in (None, task.output)]
        names = [metric.name.removeprefix(f"{task.output}_") for metric in own]
        named = [name for name in names if (metric := known(name)) is None or metric.of_classes != task.of_values]
        named = named or ["mae" if task.of_values else "accuracy"]
        if named[0] == "accuracy" and _largest_class(task, _targets(test.y, task.output)) > LARGE_CLASS:
            named = ["balanced_accuracy", *named]
        found[task.output] = named
    return found


def baseline_of(tasks: Sequence[Task], metrics: Mapping[str, list[str]], model: Any, data: Any, loss: Any) -> Baseline:
    """Scores a model on test samples by the first metric of its first output.

    Raises:
        InputError: The metric cannot be taken.
    """
    from tfopt.metrics import find, scores_of
    from tfopt.models import signature
    from tfopt.stages.scoring import metrics_on

    split, fewest = data.test.choose(SCORED, 0), min(len(data.test), len(data.validation))
    first, several = tasks[0], len(tasks) > 1
    asked = find(metrics[first.output][0])
    [metric, *_] = metrics_on(model, split, [asked.of(first.output) if several else asked], loss)
    outputs = signature.outputs_on_samples(model, split)
    same = {**outputs, first.output: _constant(first, _targets(split.y, first.output), outputs[first.output])}
    score, guess = (scores_of([metric], split, given)[metric.name] for given in (outputs, same))
    return Baseline(metric.name, metric.higher_is_better, score, guess, len(split), fewest)


def _targets(y: Any, output: str) -> np.ndarray:
    return y[output] if isinstance(y, Mapping) else y


def _largest_class(task: Task, y: np.ndarray) -> float:
    """The share of the most frequent class; 0 where samples have several or none."""
    if task.targets in ("values", "multi-hot"):
        return 0.0
    ids = y.argmax(axis=-1) if task.targets == "one-hot" else y
    _, counts = np.unique(ids, return_counts=True)
    return float(counts.max() / counts.sum())


def _constant(task: Task, y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """The same scores for every sample: how frequent each class is, or the mean of the targets."""
    if task.targets == "ids":
        same = np.bincount(y.ravel().astype(np.int64), minlength=outputs.shape[-1]) / y.size
    else:
        same = y.reshape(len(y), *outputs.shape[1:]).mean(axis=0) - (0.5 - task.threshold if not task.of_values else 0)
    return np.broadcast_to(same, outputs.shape).astype(np.float32)

"""The registry entries for metrics: single metrics, and families with a number in their name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tfopt.metrics.decision import Decision

Score = Callable[[np.ndarray, np.ndarray], float]
Each = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A metric: one number for outputs against targets.

    Args:
        name: The name in a recipe and in reports.
        score: Computes the number from targets `(samples, ...)` and outputs `(samples, ...)`.
        higher_is_better: Whether a larger number is a better one.
        output: The name of the model's output that is scored; None where the model has one output.
        keras: Name of the Keras metric that computes the same; None where Keras has none.
        of_classes: Whether the outputs are scores of classes.
        keras_aliases: Other names of that Keras metric, also accepted in a recipe.
        of_losses: Parts of loss names whose usual metric this is, such as `crossentropy`.
        of_labels: Computes the number of several decisions a sample, from labels 0 and 1 and probabilities of the same
            shape `(samples, classes)`; None for the mean of `score` over the classes.
        by_order: Whether only the order of the scores counts, so that logits are as good as probabilities.
        each: Gives the numbers, of as many to each sample, whose mean `score` is; None where it is not a mean.
        decisions: How outputs decide on classes, by output name, where it is not the usual way.
        about: One sentence that says what the number is; empty where the docstring of `score` or of its file does.
    """

    name: str
    score: Score
    higher_is_better: bool = True
    output: str | None = None
    keras: str | None = None
    of_classes: bool = False
    keras_aliases: tuple[str, ...] = ()
    of_losses: tuple[str, ...] = ()
    of_labels: Score | None = None
    by_order: bool = False
    each: Each | None = None
    decisions: tuple[tuple[str, Decision], ...] = ()
    about: str = ""

    def value(self, y: np.ndarray, outputs: np.ndarray, output: str) -> float:
        """The number for one output.

        Args:
            y: Targets `(samples, ...)`.
            outputs: Outputs `(samples, ...)`.
            output: Name of the output.
        """
        decision = dict(self.decisions).get(output)
        if decision is None or not self.of_classes:
            return self.score(y, outputs)
        scores = outputs if self.by_order else decision.probabilities(outputs)
        if not decision.multilabel:
            return self.score(y, scores)
        labels, scores = (array.reshape(-1, outputs.shape[-1]) for array in (y, scores))
        if self.of_labels is not None:
            return self.of_labels(labels, scores)
        return float(np.mean([self.score(*pair) for pair in zip(labels.T, scores.T, strict=True)]))

    def by_sample(self, y: np.ndarray, outputs: np.ndarray, output: str) -> np.ndarray | None:
        """The number of each sample `(samples,)`, whose mean is `value`; None where it is not a mean over samples.

        Args:
            y: Targets `(samples, ...)`.
            outputs: Outputs `(samples, ...)`.
            output: Name of the output.
        """
        decision = dict(self.decisions).get(output)
        if self.each is None or (decision and decision.multilabel and self.of_labels):
            return None
        if decision and self.of_classes:
            outputs = outputs if self.by_order else decision.probabilities(outputs)
            if decision.multilabel:  # each value decides for itself
                return self.each(y.ravel(), outputs.ravel()).reshape(len(y), -1).mean(axis=1)
        return self.each(y, outputs).reshape(len(y), -1).mean(axis=1)

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is than `before`; negative if it is better."""
        return before - after if self.higher_is_better else after - before

    def of(self, output: str) -> Metric:
        """The metric of one of several outputs, with the output's name in front of its own, as Keras names it."""
        return replace(self, name=f"{output}_{self.name}", output=output)

    def renamed(self, outputs: Mapping[str, str]) -> Metric:
        """The metric of the same outputs under other names; those that are not in the mapping keep theirs."""
        decisions = tuple((outputs.get(name, name), decision) for name, decision in self.decisions)
        base = replace(self, name=self.name.removeprefix(f"{self.output}_"), output=None, decisions=decisions)
        return base if self.output is None else base.of(outputs.get(self.output, self.output))

    def at(self, outputs: Sequence[str]) -> list[Metric]:
        """The metric for each of several outputs; unchanged if it has an output already, or there is only one."""
        return [self] if self.output is not None or len(outputs) < 2 else [self.of(output) for output in outputs]


@dataclass(frozen=True)
class MetricFamily:
    """Metrics whose names end in a number, such as `top_5`.

    Args:
        name: Prefix of the names, such as `top_`.
        make: Makes the metric from its number, 1 or above.
        example: One of the names, shown where a name is not known.
    """

    name: str
    make: Callable[[int], Metric]
    example: str

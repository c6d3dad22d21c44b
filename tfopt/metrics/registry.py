"""The registry of metrics, and lookup by name, function or `Metric`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfopt.errors import InputError, did_you_mean
from tfopt.metrics.metric import Metric, MetricFamily
from tfopt.registry import Registry
from tfopt.user_code import Ref

METRICS = Registry("tfopt.metrics", Metric, "tfopt.metrics")
FAMILIES = Registry("tfopt.metrics", MetricFamily, "tfopt.metric_families")


def known(name: str) -> Metric | None:
    """The metric of that name, which may be one of Keras's for it; None if there is none."""
    if name in METRICS:
        return METRICS[name]
    return next((metric for metric in METRICS.values() if name in metric.keras_aliases), None)


def find(asked: Any, folder: Path | None = None) -> Metric:
    """The metric that a recipe asks for.

    Args:
        asked: Its name, a family's name with a number such as `top_5`, a function's reference `file.py:function`, or,
            in Python, a `Metric` or a function of targets and outputs. Of a function whose attribute `higher_is_better`
            is False the smaller number is the better one.
        folder: The folder in which the function's file is looked for first.

    Raises:
        InputError: There is no such metric.
    """
    if isinstance(asked, Metric):
        return asked
    if callable(asked):
        return _own(asked)
    if isinstance(asked, str):
        if (metric := known(asked) or _of_family(asked)) is not None:
            return metric
        if ":" in asked:
            return _own(Ref.parse(asked, folder or Path.cwd()).load())
    names = [*METRICS, *(family.example for family in FAMILIES.values())]
    raise InputError(f"there is no metric {asked!r}. {did_you_mean(asked, names)}", ("metrics",))


def _of_family(name: str) -> Metric | None:
    """The metric whose name is that of a family and a number."""
    for family in FAMILIES.values():
        if number := re.fullmatch(re.escape(family.name) + r"([1-9]\d*)", name):
            return family.make(int(number[1]))
    return None


def _own(function: Any) -> Metric:
    """The metric that a function of a user's own computes."""
    if isinstance(function, Metric):
        return function
    if not callable(function):
        raise InputError(f"a metric is a function of targets and outputs. Received: {function!r:.80}.", ("metrics",))
    name = getattr(function, "__name__", type(function).__name__)
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        raise InputError(f"the metric {name} is called with targets and outputs, two arrays.", ("metrics",)) from None
    return Metric(name, lambda y, outputs: float(function(y, outputs)), getattr(function, "higher_is_better", True))


def output_and_metric(score: str) -> tuple[str, Metric | None]:
    """What the name of a score says: `digit_top_5` is `top_5` of the output `digit`.

    Args:
        score: The name, as reports and recipes have it.

    Returns:
        The output's name, empty for that of a model with one output, and the metric: of all that the name can end in
        the longest. None, and no output, for a metric of a user's own.
    """
    words = score.split("_")
    for start in range(len(words)):
        name = "_".join(words[start:])
        if metric := known(name) or _of_family(name):
            return "_".join(words[:start]), metric
    return "", None


def find_all(asked: Sequence[Any] | Mapping[str, Any], folder: Path | None = None) -> tuple[Metric, ...]:
    """The metrics that a recipe asks for.

    Args:
        asked: Metrics as `find` takes them, or a mapping from the names of outputs to the metrics of each.
        folder: The folder in which files are looked for first.

    Raises:
        InputError: There is no such metric.
    """
    if isinstance(asked, Mapping):
        lists = {output: [names] if isinstance(names, str) else names for output, names in asked.items()}
        return tuple(find(name, folder).of(output) for output, names in lists.items() for name in names)
    return tuple(find(name, folder) for name in asked)


def default_metric(loss: str | None) -> Metric:
    """The usual metric of a loss, by the loss's name: the mean squared error where no metric claims it."""
    usual = (m for m in METRICS.values() if loss is not None and any(part in loss for part in m.of_losses))
    return next(usual, METRICS["mse"])

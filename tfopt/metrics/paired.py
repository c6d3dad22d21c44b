"""Comparison of two models on the same samples: the difference of a metric, its confidence interval, its p-value."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.data.splits import Samples
from tfopt.metrics.metric import Metric
from tfopt.metrics.outputs import Outputs

CONFIDENCE = 0.95
# Bootstrap samples: more move the ends of an interval by less than their last digit that counts.
RESAMPLES = 1000
# Values that all bootstrap samples of a difference have together, about; and fewest samples, where that is few.
WORK, FEWEST_RESAMPLES = 2**30, 200
MCNEMAR = "McNemar's exact test, Newcombe's interval"
BOOTSTRAP = "paired bootstrap"


@dataclass(frozen=True)
class PairedDifference:
    """The difference of a metric between two models, the second less the first.

    Args:
        difference: The difference.
        low: Lower end of its confidence interval.
        high: Upper end.
        p: Probability of a difference at least as large, in either direction, where the models do not differ.
        method: The names of the test and of the interval.
        confidence: Confidence of the interval, 0-1.
    """

    difference: float
    low: float
    high: float
    p: float
    method: str
    confidence: float = CONFIDENCE


def accuracy_difference(first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE) -> PairedDifference:
    """The difference of two accuracies on the same samples, with McNemar's exact test and Newcombe's interval.

    Args:
        first: Whether the first model is right, by sample, `(samples,)`.
        second: Whether the second one is.
        confidence: Confidence of the interval, 0-1.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12 (1947):
        exact, of the binomial distribution of the samples on which one model alone is right.
        Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired data,
        Statistics in Medicine 17 (1998), 2635-2650: method 10, scores squared and added, with the corrected phi.
    """
    from scipy.stats import binomtest

    right, other = np.asarray(first, bool), np.asarray(second, bool)
    both, lost = int((right & other).sum()), int((right & ~other).sum())
    won, neither = int((~right & other).sum()), int((~right & ~other).sum())
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    low, high = newcombe_interval(both, won, lost, neither, confidence)
    return PairedDifference((won - lost) / right.size, low, high, p, MCNEMAR, confidence)


def newcombe_interval(
    both: int, won: int, lost: int, neither: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Newcombe's interval (method 10 of 1998) for the difference of two paired proportions, the second less the first.

    Args:
        both: Number of samples that both have.
        won: Those that the second alone has.
        lost: Those that the first alone has.
        neither: Those that neither has.
        confidence: Confidence of the interval, 0-1.
    """
    from scipy.stats import binomtest

    count = both + won + lost + neither
    second, first = (both + won) / count, (both + lost) / count
    ends = [binomtest(hits, count).proportion_ci(confidence, method="wilson") for hits in (both + won, both + lost)]
    margins = (both + won) * (lost + neither) * (both + lost) * (won + neither)
    excess = float(both * neither - won * lost)
    if excess > 0:
        excess = max(excess - count / 2, 0.0)
    phi = excess / math.sqrt(margins) if margins else 0.0

    def reach(up: float, down: float) -> float:
        return math.sqrt(max(up * up - 2 * phi * up * down + down * down, 0.0))

    low = reach(second - ends[0].low, ends[1].high - first)
    high = reach(ends[0].high - second, first - ends[1].low)
    return max(second - first - low, -1.0), min(second - first + high, 1.0)


def bootstrap_difference(
    score: Callable[[np.ndarray], float],
    count: int,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    resamples: int = RESAMPLES,
    part: Callable[[float], Any] = lambda done: None,
) -> PairedDifference:
    """The difference of any metric on the same samples, by a bootstrap that draws the samples of both models together.

    The interval is that of percentiles. The p-value is twice the share of bootstrap samples on whose side of no
    difference the observed one is not. Both are NaN of fewer than two samples, which have nothing to be drawn from.

    Args:
        score: The difference on the samples of an index `(samples,)`; NaN or a ValueError where it is not defined.
        count: Number of samples.
        confidence: Confidence of the interval, 0-1.
        seed: Seed of the draws.
        resamples: Number of bootstrap samples.
        part: Called with the finished fraction, 0-1.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), sections 13.3 and 15.4.
    """
    observed, generator = score(np.arange(count)), np.random.default_rng(seed)
    values = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of draws without a value, which are left out below
        for number in range(resamples if count > 1 else 0):
            with contextlib.suppress(ValueError):
                values.append(score(generator.integers(0, count, count)))
            part((number + 1) / resamples)
    drawn = np.asarray([value for value in values if math.isfinite(value)])
    if not len(drawn):
        return PairedDifference(observed, math.nan, math.nan, math.nan, BOOTSTRAP, confidence)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(2 * (float(beyond) + 1) / (len(drawn) + 1), 1.0)
    return PairedDifference(observed, float(low), float(high), p, BOOTSTRAP, confidence)


def paired_difference(
    metric: Metric,
    targets: Samples,
    first: Outputs,
    second: Outputs,
    part: Callable[[float], Any] = lambda done: None,
) -> PairedDifference:
    """The difference of a metric of two models: of right and wrong by McNemar's test, of all else by a bootstrap.

    A metric that is a mean over samples is taken of each sample once; any other of every bootstrap sample anew.

    Args:
        metric: The metric, of the output that it names, else of the first.
        targets: The samples, whose `y` is an array `(samples, ...)`, or a dict of such by output.
        first: The outputs of the one model on them, `(samples, ...)` by name.
        second: Those of the other.
        part: Called with the finished fraction, 0-1.
    """
    output = metric.output or next(iter(first))
    labels = np.asarray(targets.y[output] if isinstance(targets.y, dict) else targets.y)
    pair, count = (first[output], second[output]), len(labels)
    before, after = (metric.by_sample(labels, values, output) for values in pair)
    if before is not None and after is not None:
        if metric.of_classes and all(np.isin(values, (0, 1)).all() for values in (before, after)):
            return accuracy_difference(before, after)
        change, draws = after - before, _resamples(count)
        return bootstrap_difference(lambda index: float(change[index].mean()), count, resamples=draws, part=part)

    def score(index: np.ndarray) -> float:
        values = [metric.value(labels[index], one[index], output) for one in pair]
        return values[1] - values[0]

    return bootstrap_difference(score, count, resamples=_resamples(sum(one.size for one in pair)), part=part)


def _resamples(values: int) -> int:
    """Number of bootstrap samples of so many values each that are not too much work."""
    return min(max(WORK // max(values, 1), FEWEST_RESAMPLES), RESAMPLES)

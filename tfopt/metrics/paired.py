"""Comparison of two models on the same samples: the difference of a metric, its confidence interval, its p-value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
# Bootstrap samples: more move the ends of an interval by less than their last digit that counts.
RESAMPLES = 1000
# Bootstrap samples that are in memory at once.
BATCH = 50
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
    score: Callable[[np.ndarray], float], count: int, confidence: float = CONFIDENCE, seed: int = 0
) -> PairedDifference:
    """The difference of any metric on the same samples, by a bootstrap that draws the samples of both models together.

    The interval is that of percentiles. The p-value is twice the share of bootstrap samples on whose side of no
    difference the observed one is not.

    Args:
        score: The difference on the samples of an index `(samples,)`; NaN where it is not defined on them.
        count: Number of samples.
        confidence: Confidence of the interval, 0-1.
        seed: Seed of the draws.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), sections 13.3 and 15.4.
    """
    from scipy.stats import bootstrap

    samples = np.arange(count)
    observed = score(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy warns of draws without a value, which are left out below
        found = bootstrap(
            (samples,), score, n_resamples=RESAMPLES, batch=BATCH, vectorized=False, method="percentile", rng=seed
        )
    drawn = found.bootstrap_distribution[np.isfinite(found.bootstrap_distribution)]
    if not len(drawn):
        return PairedDifference(observed, math.nan, math.nan, math.nan, BOOTSTRAP, confidence)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(2 * (float(beyond) + 1) / (len(drawn) + 1), 1.0)
    return PairedDifference(observed, float(low), float(high), p, BOOTSTRAP, confidence)

"""Differences on the same samples: against closed forms, published figures and the coverage that is promised."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial

from tfopt.data.splits import Split
from tfopt.metrics import METRICS, find, paired
from tfopt.metrics.paired import (
    BOOTSTRAP,
    MCNEMAR,
    accuracy_difference,
    bootstrap_difference,
    newcombe_interval,
    paired_difference,
)


def right_and_wrong(both, won, lost, neither):
    """What the first and the second model have right, by sample."""
    counts = (both, won, lost, neither)
    return np.repeat([True, False, True, False], counts), np.repeat([True, True, False, False], counts)


def test_a_published_table_of_paired_proportions():
    # Armitage and Berry, Statistical Methods in Medical Research: 50 specimens on two media.
    found = accuracy_difference(*right_and_wrong(20, 12, 2, 16))
    assert found.difference == pytest.approx(0.2)
    assert found.p == pytest.approx(0.0129, abs=5e-5)
    assert (found.low, found.high) == (pytest.approx(0.056156, abs=5e-7), pytest.approx(0.329207, abs=5e-7))


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (0, 5), (7, 7), (3, 11), (40, 22)])
def test_the_p_value_is_that_of_a_fair_coin(won, lost):
    found = accuracy_difference(*right_and_wrong(100, won, lost, 10))
    count = won + lost
    tail = float(binom.cdf(min(won, lost), count, 0.5)) if count else 1.0
    assert found.p == pytest.approx(min(1.0, 2 * tail))


def test_the_interval_of_independent_answers_is_wilsons_squared_and_added():
    # both * neither = won * lost: the answers do not depend on each other.
    both, won, lost, neither = 24, 8, 12, 4
    low, high = newcombe_interval(both, won, lost, neither)
    ends = [binomtest(k, 48).proportion_ci(0.95, "wilson") for k in (both + won, both + lost)]
    second, first = (both + won) / 48, (both + lost) / 48
    assert low == pytest.approx(second - first - math.hypot(second - ends[0].low, ends[1].high - first))
    assert high == pytest.approx(second - first + math.hypot(ends[0].high - second, first - ends[1].low))


@pytest.mark.parametrize("counts", [(20, 12, 2, 16), (90, 0, 3, 7), (0, 1, 0, 0), (5, 0, 0, 0), (1, 30, 2, 0)])
def test_the_interval_turns_around_with_the_models(counts):
    both, won, lost, neither = counts
    low, high = newcombe_interval(both, won, lost, neither)
    assert newcombe_interval(both, lost, won, neither) == (pytest.approx(-high), pytest.approx(-low))
    assert -1 <= low <= (won - lost) / sum(counts) <= high <= 1


@pytest.mark.parametrize("chances", [(0.7, 0.1, 0.1, 0.1), (0.85, 0.08, 0.03, 0.04), (0.4, 0.3, 0.1, 0.2)])
def test_the_interval_covers_the_difference_as_often_as_it_says(chances):
    count, covered = 24, 0.0
    truth = chances[1] - chances[2]
    for both, won, lost in itertools.product(range(count + 1), repeat=3):
        if both + won + lost <= count:
            split = (both, won, lost, count - both - won - lost)
            low, high = _interval(split)
            covered += float(multinomial.pmf(split, count, chances)) * (low <= truth <= high)
    assert 0.93 <= covered <= 0.995


_kept = {}


def _interval(split):
    if split not in _kept:
        _kept[split] = newcombe_interval(*split)
    return _kept[split]


def test_the_bootstrap_of_a_mean_is_students_interval():
    differences = np.random.default_rng(1).normal(0.3, 1.0, 400)
    found = bootstrap_difference(lambda index: float(differences[index].mean()), 400)
    reach = 1.966 * differences.std(ddof=1) / math.sqrt(400)
    assert found.difference == pytest.approx(differences.mean())
    assert (found.low, found.high) == (
        pytest.approx(differences.mean() - reach, abs=0.2 * reach),
        pytest.approx(differences.mean() + reach, abs=0.2 * reach),
    )
    assert found.p < 0.01


def test_the_bootstrap_is_the_same_every_time_and_sees_no_difference_where_there_is_none():
    values = np.random.default_rng(2).normal(0, 1, 100)
    once, again = (bootstrap_difference(lambda index: float(values[index].mean()), 100) for _ in range(2))
    assert once == again
    assert bootstrap_difference(lambda index: 0.0, 100).p == 1


def test_a_metric_that_is_not_defined_on_some_draws_is_judged_on_the_others():
    values = np.array([0.0] * 3 + [1.0] * 3)

    def score(index):
        return float(values[index].mean()) if values[index].any() else math.nan

    found = bootstrap_difference(score, 6)
    assert math.isfinite(found.low)
    assert found.low > 0
    assert math.isnan(bootstrap_difference(lambda index: math.nan, 6).p)

    def refused(index):
        if len(np.unique(values[index])) < 2:
            raise ValueError("one class alone")
        return score(index)

    assert math.isfinite(bootstrap_difference(refused, 6).low)


def test_one_sample_has_a_difference_and_nothing_that_it_is_worth():
    found = paired_difference(METRICS["mse"], Split(np.zeros((1, 2)), np.zeros(1)), {"a": 2 * ONE}, {"a": ONE})
    assert found.difference == -3
    assert all(map(math.isnan, (found.low, found.high, found.p)))


ONE = np.ones((1, 1))


def scored(shape, classes):
    """Labels, and the scores of two models of which the second is better."""
    generator = np.random.default_rng(5)
    y = generator.integers(0, classes, shape)
    outputs = ({"out": generator.normal(size=(*shape, classes)) + share * np.eye(classes)[y]} for share in (1, 2))
    return Split(np.zeros(shape), y), *outputs


@pytest.mark.parametrize(
    ("name", "shape", "classes", "method"),
    [
        ("accuracy", (300,), 4, MCNEMAR),
        ("top_5", (300,), 8, MCNEMAR),
        ("accuracy", (60, 7), 4, BOOTSTRAP),
        ("mse", (60, 3), 1, BOOTSTRAP),
        ("f1", (60,), 3, BOOTSTRAP),
    ],
    ids=["accuracy", "top k", "accuracy of sequences", "errors", "F1"],
)
def test_a_difference_is_that_of_the_metric_and_means_score_each_sample_once(name, shape, classes, method, monkeypatch):
    metric, (split, first, second) = find(name), scored(shape, classes)
    if name == "mse":
        first, second = ({"out": one["out"][..., 0]} for one in (first, second))
    draws = 100
    monkeypatch.setattr(paired, "RESAMPLES", draws)
    calls, parts = [], []
    counted = replace(metric, score=lambda y, outputs: calls.append(1) or metric.score(y, outputs))
    found = paired_difference(counted, split, first, second, parts.append)
    before, after = (metric.value(split.y, one["out"], "out") for one in (first, second))
    assert found.method == method
    assert found.difference == pytest.approx(after - before)
    assert found.low < found.difference < found.high
    assert len(calls) == (0 if metric.each else 2 * (draws + 1))
    assert parts == ([] if method == MCNEMAR else pytest.approx(np.arange(1, draws + 1) / draws))


def test_the_bootstrap_of_sequences_is_that_of_the_score_of_whole_samples():
    split, first, second = scored((50, 4), 3)
    metric = METRICS["accuracy"]
    assert metric.by_sample(split.y, first["out"], "out") is not None
    quick = paired_difference(metric, split, first, second)
    slow = paired_difference(replace(metric, each=None), split, first, second)
    assert (quick.difference, quick.low, quick.high, quick.p) == pytest.approx(
        (slow.difference, slow.low, slow.high, slow.p), abs=1e-9
    )


def test_large_outputs_have_fewer_draws(monkeypatch):
    split, first, second = scored((40,), 5)
    draws = []
    monkeypatch.setattr(paired, "WORK", 2 * 40 * 5 * 300)
    paired_difference(METRICS["f1"], split, first, second, draws.append)
    assert len(draws) == 300
    monkeypatch.setattr(paired, "WORK", 1)
    paired_difference(METRICS["f1"], split, first, second, draws.append)
    assert len(draws) == 300 + paired.FEWEST_RESAMPLES

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfopt.search.cost_model import Cost
from tfopt.search.model_profile import cost_of
from tfopt.search.pareto import TIMING, Objective, Point, dominates, front, ranked
from tfopt.search.space import Candidate


def point(number, drop=0.0, size=1000, milliseconds=1.0, raw=5000, spread=0.0):
    return Point(number, Candidate(), 1, 1 - drop, drop, Cost(raw, size, milliseconds, spread))


GZIP = Objective("accurate", "gzip")
points = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 5), st.sampled_from([1.0, 1.02, 1.5, 3.0])), min_size=1, max_size=12
).map(lambda rows: [point(n, drop / 100, 100 * size, time) for n, (drop, size, time) in enumerate(rows)])


@given(points)
def test_no_file_of_the_front_is_dominated_in_the_plain_sense_either(found):
    """As good in accuracy, bytes and time, and better in one of them: the textbook's dominance, counted by hand."""
    kept = front(found, GZIP)
    assert kept
    for p, other in itertools.product(kept, found):
        figures = [(p.drop, other.drop), (p.cost.gzip_bytes, other.cost.gzip_bytes)]
        figures.append((p.cost.milliseconds, other.cost.milliseconds))
        beaten = all(b <= a for a, b in figures) and any(b < a for a, b in figures[:2])
        beaten |= all(b <= a for a, b in figures) and figures[2][1] < figures[2][0] * (1 - TIMING)
        assert not beaten


@given(points)
def test_what_is_not_on_the_front_is_beaten_by_a_file_of_it_or_equals_one(found):
    kept = front(found, GZIP)
    for p in found:
        same = any((q.drop, q.cost.gzip_bytes) == (p.drop, p.cost.gzip_bytes) for q in kept)
        assert p in kept or same or any(dominates(q, p, GZIP) for q in found)


@given(points)
def test_the_front_has_the_most_accurate_and_the_smallest(found):
    kept = front(found, GZIP)
    assert min(p.drop for p in kept) == min(p.drop for p in found)
    assert min(p.cost.gzip_bytes for p in kept) == min(p.cost.gzip_bytes for p in found)


def test_the_front_goes_by_the_size_that_is_asked_for():
    one, other = point(0, size=900, raw=9000), point(1, size=1000, raw=8000)
    assert front([one, other], GZIP) == [one]
    assert front([one, other], Objective("accurate", "raw")) == [other]


def test_times_that_differ_from_run_to_run_decide_nothing():
    one, other = point(0, milliseconds=1.0), point(1, milliseconds=1.03)
    assert not dominates(one, other, GZIP)
    assert dominates(one, point(1, milliseconds=1.2), GZIP)
    assert front([one, other], GZIP) == [one]


FAST = Objective("fastest", "gzip")
TIMED = Objective("accurate", "gzip", milliseconds=3.0)


@pytest.mark.parametrize("objective", [GZIP, FAST, TIMED], ids=["accurate", "fastest", "a limit on the time"])
@pytest.mark.parametrize("of", [0, 1], ids=["of the one", "of the other"])
def test_no_file_is_dominated_by_a_time_within_the_noise_of_its_measurement(objective, of):
    spreads = [0.3 if number == of else 0.02 for number in (0, 1)]
    one, other = (point(n, milliseconds=time, spread=spreads[n]) for n, time in enumerate((2.0, 2.25)))
    assert not dominates(one, other, objective)
    assert dominates(one, point(1, milliseconds=2.5, spread=spreads[1]), objective)
    better = point(1, drop=-0.01, milliseconds=2.25, spread=spreads[1])  # and its time is no reason to keep the other
    assert front([one, better], objective) == [better]


@pytest.mark.parametrize("objective", [FAST, TIMED], ids=["fastest", "a limit on the time"])
def test_where_the_time_counts_every_difference_above_its_noise_does(objective):
    one, other = point(0, milliseconds=2.0, spread=0.01), point(1, milliseconds=2.02, spread=0.005)
    assert dominates(one, other, objective)
    assert not dominates(one, other, GZIP)


def test_a_file_over_a_limit_by_less_than_the_noise_dominates_none_within():
    within, over = point(0, 0.02, milliseconds=2.95, spread=0.2), point(1, 0.01, milliseconds=3.05, spread=0.2)
    assert not dominates(over, within, TIMED)
    assert within in front([within, over], TIMED)


def test_the_spread_is_that_of_the_benchmark(monkeypatch, tmp_path):
    found = {"latency_median_seconds": 2e-3, "latency_p90_seconds": 2.5e-3, "raw_bytes": 9.0, "gzip_bytes": 8.0}
    monkeypatch.setattr("tfopt.tflite.benchmark.measure", lambda *_: found)
    assert cost_of(tmp_path / "m.tflite", {}) == Cost(9.0, 8.0, 2.0, pytest.approx(0.5))


@pytest.mark.parametrize(("goal", "best"), [("accurate", 1), ("smallest", 2), ("fastest", 3)])
def test_the_goal_orders_what_is_within_the_limits(goal, best):
    found = [point(0, 0.0, 3000, 1.0), point(1, 0.01, 1900, 2.0), point(2, 0.03, 500, 2.0), point(3, 0.04, 1500, 0.5)]
    objective = Objective(goal, "gzip", gzip_bytes=2000, max_drop=0.05)
    assert ranked(found, objective)[0].number == best
    assert ranked(found, objective)[-1].number == 0  # the only one over a limit


def test_where_none_fits_the_nearest_comes_first():
    found = [point(0, 0.0, 4000), point(1, 0.2, 2100)]
    objective = Objective("accurate", "gzip", gzip_bytes=2000)
    assert ranked(found, objective)[0].number == 1
    assert not found[1].meets(objective)


@pytest.mark.parametrize(
    ("limits", "over"),
    [
        ({"raw_bytes": 64_000, "gzip_bytes": 20_000}, point(1, 0.01, 17_000, raw=70_000)),
        ({"milliseconds": 2.0}, point(1, 0.02, 17_000, 2.05, raw=60_000)),
    ],
)
def test_what_is_over_a_limit_keeps_nothing_within_it_off_the_front(limits, over):
    within = point(0, 0.02, 18_000, 1.98, raw=60_000)
    objective = Objective("accurate", "gzip", **limits)
    assert within.meets(objective)
    assert not over.meets(objective)
    assert within in front([within, over], objective)
    assert ranked(front([within, over], objective), objective)[0] == within


def test_a_limit_says_by_how_much_a_cost_is_over_it():
    objective = Objective("accurate", "raw", raw_bytes=1000, milliseconds=2.0)
    assert objective.over(Cost(1100, 1, 1.0)) == pytest.approx({"raw_bytes": 0.1, "milliseconds": -0.5})
    assert objective.fits(Cost(1000, 1, 2.2), slack=1.25)
    assert not objective.fits(Cost(1000, 1, 2.2))

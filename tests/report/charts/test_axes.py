"""Scales, ticks and their texts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfopt.report.charts.axes import Scale, scale_of, short, tick_names

VALUES = st.floats(-1e12, 1e12, allow_nan=False, allow_subnormal=False)


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_every_value_has_a_place_within_the_axis_and_larger_ones_are_farther(values):
    scale = scale_of(values, 300.0, 20.0)
    places = [scale(value) for value in sorted(values)]
    assert all(20.0 - 1e-6 <= place <= 300.0 + 1e-6 for place in places)
    assert places == sorted(places, reverse=True)


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_ticks_are_few_ascend_and_lie_on_the_axis(values):
    scale = scale_of(values, 0.0, 100.0)
    ticks = scale.ticks(5)
    assert len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    assert all(-1e-3 <= scale(tick) <= 100.001 for tick in ticks)


@given(st.lists(st.floats(1e-9, 1e12, allow_subnormal=False), min_size=1, max_size=20))
def test_a_logarithmic_axis_puts_equal_ratios_equally_far_apart(values):
    scale = scale_of(values, 0.0, 100.0, log=True)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    middle = math.sqrt(scale.low * scale.high)
    assert scale(middle) == pytest.approx(50.0, abs=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0.0, 1.0, False, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.0, 7.0, False, [-2.0, 0.0, 2.0, 4.0, 6.0]),
        (1.0, 1000.0, True, [1.0, 10.0, 100.0, 1000.0]),
        (90_000.0, 700_000.0, True, [100_000.0, 200_000.0, 500_000.0]),
    ],
    ids=["unit", "signed", "decades", "within_decades"],
)
def test_ticks_are_round(low, high, log, expected):
    assert Scale(low, high, 0.0, 1.0, log).ticks(5) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [None], [math.nan, math.inf], [5.0], [0.0], [-2.0, -2.0]])
def test_an_axis_of_nothing_or_of_one_value_is_an_axis_all_the_same(values):
    scale = scale_of(values, 0.0, 100.0)
    assert scale.low < scale.high
    assert scale.ticks()


def test_an_axis_ends_at_what_it_has_to_reach():
    assert scale_of([0.2, 0.8], 100.0, 0.0, include=(0.0,))(0.0) == 100.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.05, "0.05"),
        (1500.0, "1500"),
        (12_000.0, "12 k"),
        (3_000_000.0, "3 M"),
        (2e9, "2 G"),
        (1e-5, "1e-05"),
        (-40.0, "-40"),
        (1e12, "1e+12"),
    ],
)
def test_ticks_are_short(value, text):
    assert short(value) == text


def test_the_ticks_of_an_even_axis_have_as_many_places_as_the_finest():
    assert tick_names([0.978, 0.979, 0.98]) == ["0.978", "0.979", "0.980"]
    assert tick_names([0.1, 1.0, 10.0]) == ["0.1", "1", "10"]
    assert tick_names([10_000.0, 20_000.0]) == ["10 k", "20 k"]

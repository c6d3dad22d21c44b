import numpy as np
import pytest

from tfopt.errors import ModelError
from tfopt.search.cost_model import Cost, CostModel
from tfopt.search.pareto import Objective, Point
from tfopt.search.sampler import RANDOM, SLACK, Sampler, scale_to_limits
from tfopt.search.space import Candidate, Space, channel_shares

GROUPS = {"a": ("a",), "b": ("b",)}


@pytest.fixture(scope="module")
def space():
    return Space(GROUPS, frozenset({"a"}), (0.01, 1.0), (8, 4), (0, 8), channel_shares(0.5, 1.0))


@pytest.fixture(scope="module")
def forecast(space):
    generator = np.random.default_rng(0)
    kernels = {name: [generator.normal(size=(100, 80))] for name in GROUPS}
    return CostModel(space, kernels, Cost(20_000, 18_000, 2.0), lambda share: (dict.fromkeys(GROUPS, share), share))


def propose(space, forecast, objective, points=(), taken=(), seeds=(), who="me"):
    return Sampler(space, forecast, objective, seeds, 0).next(list(points), list(taken), who)


def made(space, forecast, count, objective, score):
    """So many candidates one after the other, as a search would make them."""
    points, dropped = [], 0
    for number in range(count):
        proposal = propose(space, forecast, objective, points, [p.candidate for p in points])
        dropped += proposal.dropped
        cost = forecast(proposal.candidate)
        drop = score(proposal.candidate)
        points.append(Point(number, proposal.candidate, 1, 1 - drop, drop, cost))
    return points, dropped


ACCURATE = Objective("accurate", "gzip", gzip_bytes=5000)


@pytest.fixture(scope="module")
def points(space, forecast):
    """A search in which only the density of `a` counts."""
    return made(space, forecast, 25, ACCURATE, lambda c: 1 - c.density["a"])[0]


def test_seeds_come_first_in_their_order(space, forecast):
    seeds = [Candidate({"a": 1.0, "b": 1.0}, {"a": bits}) for bits in (8, 4)]
    objective = Objective("accurate", "gzip", gzip_bytes=50_000)
    assert propose(space, forecast, objective, seeds=seeds).candidate == seeds[0]
    assert propose(space, forecast, objective, taken=seeds[:1], seeds=seeds).candidate == seeds[1]
    assert propose(space, forecast, objective, taken=seeds, seeds=seeds).candidate not in seeds


def test_what_is_over_budget_is_thrown_away_and_the_search_goes_on(space, forecast):
    objective = Objective("smallest", "gzip", gzip_bytes=4000, max_drop=0.1)
    points, dropped = made(space, forecast, 15, objective, lambda c: sum(1 - d for d in c.density.values()) / 10)
    assert len(points) == 15
    assert dropped > 0
    assert all(p.cost.gzip_bytes <= 4000 for p in points)


def test_a_seed_that_turns_out_over_budget_is_made_thinner(space, forecast):
    """By files that came out larger than estimated; as its layers were to each other."""
    objective = Objective("accurate", "gzip", gzip_bytes=6000)
    first, seed = Candidate({"a": 0.2, "b": 0.1}, {"a": 8}, 8), Candidate({"a": 0.2, "b": 0.4}, {"a": 8})
    estimated = forecast(first)
    larger = [Point(0, first, 1, 0.9, 0.1, Cost(estimated.raw_bytes, 1.3 * estimated.gzip_bytes, 1.0))]
    before = propose(space, forecast, objective, seeds=[first, seed], taken=[first])
    after = propose(space, forecast, objective, larger, [first], [first, seed])
    for found in (before, after):
        assert found.dropped == 0
        assert found.candidate.density["b"] == pytest.approx(2 * found.candidate.density["a"], rel=2e-3)
    forecast.learn((point.candidate, point.cost) for point in larger)
    assert 5400 < forecast(after.candidate).gzip_bytes <= 6000
    forecast.learn([])
    assert 5400 < forecast(before.candidate).gzip_bytes <= 6000
    assert after.candidate.density["a"] < 0.9 * before.candidate.density["a"]
    again = propose(space, forecast, objective, [], [first, after.candidate], [first, seed])
    assert again.candidate != before.candidate  # it was tried, whatever became of its density


def test_a_seed_that_fits_in_no_form_is_left_out(space, forecast):
    """All of its densities are the least there is, and with eight bits."""
    least = Space(GROUPS, space.four, (0.5, 1.0), (8, 4), (0, 8), space.channels)
    seed = Candidate({"a": 1.0, "b": 1.0}, {"a": 8})
    found = propose(least, forecast, Objective("accurate", "gzip", gzip_bytes=7000), seeds=[seed])
    assert found.candidate.bits["a"] == 4 or found.candidate.clusters or found.candidate.channels < 1


@pytest.mark.parametrize("least", [0.001, 0.1])
def test_a_seed_is_known_in_every_form_of_it_and_no_other_is_taken_for_it(forecast, least):
    groups = {name: (name,) for name in "abcd"}
    space = Space(groups, frozenset(), (least, 1.0), (8,), (0,), (1.0,))
    generator = np.random.default_rng(0)
    seeds = [Candidate({g: float(generator.uniform(least, 1)) for g in groups}) for _ in range(3)]
    sampler = Sampler(space, forecast, Objective("accurate", "gzip", gzip_bytes=5000), seeds, 0)
    for number, seed in enumerate(seeds):
        for factor in generator.uniform(0.01, 3, 200):
            form = seed.denser(factor, space.density)
            if not {least, 1.0}.intersection(form.density.values()):  # others may be a form of each
                assert sampler.first(form) == number
            assert sampler.first(form) is not None
    other = Candidate({"a": 1.0, "b": 0.2, "c": 1.0, "d": 0.5})
    assert sampler.first(other) is None


def test_without_limits_that_zeros_help_seeds_differ_by_their_densities(space, forecast):
    """They are the same layers at several sparsities."""
    seeds = [Candidate({"a": d, "b": d}, {"a": 8}) for d in (0.4, 0.2, 0.1)]
    objective = Objective("smallest", "gzip", max_drop=0.1)
    found = [propose(space, forecast, objective, taken=seeds[:count], seeds=seeds) for count in range(3)]
    assert [proposal.candidate for proposal in found] == seeds


def test_a_file_a_little_over_the_limit_is_as_promising_as_one_within(space, forecast):
    """Its longer training is of a form with a few weights less."""
    own = Candidate({"a": 0.5, "b": 0.5}, {"a": 8})
    cost = forecast(own)
    point = Point(0, own, 1, 0.9, 0.1, cost)

    def promised(over, **others):
        objective = Objective(gzip_bytes=cost.gzip_bytes / over, size="gzip", **{"goal": "accurate", **others})
        found = Sampler(space, forecast, objective, [], 0).promised(point)
        assert found.candidate == own
        return found.meets(objective)

    assert promised(1.07)
    assert not promised(1.2)
    assert not promised(1.07, milliseconds=cost.milliseconds / 1.05)
    assert not promised(1.07, goal="smallest", max_drop=0.5)


def test_times_are_held_to_their_limit_with_some_slack(space, forecast):
    points, _ = made(
        space, forecast, 8, Objective("accurate", "gzip", gzip_bytes=90_000, milliseconds=1.2), lambda c: 0.0
    )
    assert all(p.cost.milliseconds <= 1.2 * SLACK for p in points)


def test_where_accuracy_is_wanted_candidates_fill_the_budget(space, forecast):
    points, _ = made(space, forecast, 6, Objective("accurate", "gzip", gzip_bytes=6000), lambda c: 0.0)
    full = [p for p in points if max(p.candidate.density.values()) < 1]
    assert full
    assert all(5000 < p.cost.gzip_bytes <= 6000 for p in full)


def test_no_candidate_comes_twice(points):
    assert len({repr(p.candidate) for p in points}) == 25


def test_the_same_trials_lead_to_the_same_proposal_and_another_worker_to_another(space, forecast, points):
    taken = [p.candidate for p in points]
    first, again = (propose(space, forecast, ACCURATE, points, taken) for _ in range(2))
    other = propose(space, forecast, ACCURATE, points, taken, who="another")
    assert first == again
    assert first != other


def test_the_search_learns_which_layer_matters(points):
    """Only `a` counts: the later candidates give it more of the budget than the first ones."""

    def share(chosen):
        return float(np.mean([p.candidate.density["a"] - p.candidate.density["b"] for p in chosen]))

    assert share(points[-15:]) > share(points[:8]) + 0.1


@pytest.fixture
def impatient(monkeypatch):
    """Few candidates are drawn before the space counts as exhausted; the last of them are TPE's."""
    monkeypatch.setattr("tfopt.search.sampler.PATIENCE", 2 * RANDOM)


def test_a_budget_that_nothing_meets_is_one_line(space, forecast, impatient):
    with pytest.raises(ModelError, match=r"none of 16 candidates fits the limits: the nearest would be .*% over"):
        propose(space, forecast, Objective("accurate", "gzip", gzip_bytes=100))


def test_a_space_that_is_used_up_is_one_line(forecast, impatient):
    small = Space(GROUPS, frozenset({"a"}), None, (8, 4), (0,), (1.0,))
    both = [Candidate({}, {"a": bits}) for bits in (8, 4)]
    with pytest.raises(ModelError, match="every candidate of the space has been tried"):
        propose(small, forecast, Objective("smallest", "raw", max_drop=0.1), taken=both)


@pytest.mark.parametrize("limit", [0.02, 0.37, 5.0])
def test_the_densest_form_that_fits(limit):
    """Against a closed form: densities of 0.1 and 0.2 scaled so that their sum, the larger cut at 1, is the limit."""
    found = scale_to_limits(
        Candidate({"a": 0.1, "b": 0.2}), (0.001, 1.0), lambda c: sum(c.density.values()) <= limit, steps=25
    )
    assert sum(found.density.values()) == pytest.approx(min(limit, 2.0), abs=2e-3)


def test_nothing_where_even_the_thinnest_form_does_not_fit():
    assert scale_to_limits(Candidate({"a": 0.1}), (0.05, 1.0), lambda c: c.density["a"] < 0.04) is None

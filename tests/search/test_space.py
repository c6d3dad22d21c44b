import pytest

from tfopt.search.space import OTHERS, Candidate, Space, channel_shares, group_layers


@pytest.fixture
def space():
    groups = {"a": ("a",), "b": ("b",), OTHERS: ("c", "d/c")}
    return Space(groups, frozenset({"a", OTHERS}), (0.01, 1.0), (8, 4), (0, 16), channel_shares(0.5, 1.0))


def test_layers_with_few_weights_go_together():
    assert group_layers({"big": 10_000, "c": 50, "d": 40, "e": 5_000}) == {
        "big": ("big",),
        "e": ("e",),
        OTHERS: ("c", "d"),
    }


def test_a_single_small_layer_keeps_its_name():
    assert group_layers({"big": 10_000, "c": 50}) == {"big": ("big",), "c": ("c",)}


def test_layers_of_the_same_size_are_each_one_of_their_own():
    assert list(group_layers({"a": 5, "b": 5})) == ["a", "b"]


def test_a_candidate_goes_through_its_parameters_unchanged(space):
    candidate = Candidate({"a": 0.1, "b": 0.25, OTHERS: 1.0}, {"a": 4, OTHERS: 8}, 16, 0.75)
    assert Candidate.read(candidate.parameters()) == candidate
    assert space.candidate(space.tried(candidate)) == candidate


def test_what_a_trial_leaves_out_has_its_one_value():
    space = Space({"a": ("a",)}, frozenset({"a"}), (0.2, 0.2), (8,), (32,), (1.0,))
    assert space.distributions() == {}
    assert space.candidate({}) == Candidate({"a": 0.2}, {"a": 8}, 32, 1.0)


def test_every_layer_of_a_group_has_its_value(space):
    assert dict(space.by_layer({"a": 1, OTHERS: 2})) == {"a": 1, "c": 2, "d/c": 2}


def test_denser_stays_between_the_limits():
    candidate = Candidate({"a": 0.5, "b": 0.02})
    assert candidate.denser(4.0, (0.01, 0.9)).density == {"a": 0.9, "b": 0.08}
    assert candidate.denser(0.1, (0.01, 0.9)).density == {"a": 0.05, "b": 0.01}


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0.9, 1.0, (0.9, 0.95, 1.0)), (1.0, 1.0, (1.0,)), (0.92, 1.0, (0.95, 1.0)), (0.6, 0.7, (0.6, 0.65, 0.7))],
)
def test_shares_are_a_step_apart_and_end_at_the_largest(low, high, found):
    assert channel_shares(low, high) == found

"""Which channels go: the worst ones, within what each layer keeps."""

import keras
import pytest
from keras import layers

from tfopt.errors import InputError, ModelError
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.selection import LayerLimits, RemovalOrder


@pytest.fixture(scope="module")
def structure():
    """Two families: 16 channels of `conv`, 32 of `hidden`."""
    stack = [layers.Conv2D(16, 3, name="conv"), layers.Flatten(), layers.Dense(32, name="hidden")]
    return read(keras.Sequential([layers.Input((8, 8, 1)), *stack, layers.Dense(4, name="head")]))


def rising(structure, *factors):
    """Scores that rise along each family, times a factor for it."""
    pairs = zip(structure.families, factors or (1.0,) * len(structure.families), strict=True)
    return {group: factor * (1 + place) for family, factor in pairs for place, group in enumerate(family.groups)}


def gone(structure, drop):
    """How many of each family go, which have to be those of the lowest scores."""
    counts = {}
    for family in structure.families:
        number = len(drop & set(family.groups))
        assert drop & set(family.groups) == set(family.groups[:number])
        counts[family.paths[0]] = number
    return counts


@pytest.mark.parametrize(
    ("share", "limits", "expected"),
    [
        (0.5, LayerLimits(1), (8, 16)),
        (0.3, LayerLimits(1), (5, 10)),
        (0.3, LayerLimits(8), (8, 8)),  # 11.2 and 22.4 are nearest to 8 and 24
        (0.2, LayerLimits(8), (0, 8)),  # 12.8 to 16, 25.6 to 24
        (1.0, LayerLimits(1), (14, 28)),  # a tenth of 16 and of 32, rounded up
        (1.0, LayerLimits(8), (8, 24)),
        (1.0, LayerLimits(8, 0.6), (0, 8)),
        (1.0, LayerLimits(1, 1.0), (0, 0)),
        (0.9, LayerLimits(64), (0, 0)),
    ],
)
def test_the_same_share_of_every_layer(structure, share, limits, expected):
    drop = RemovalOrder(structure, rising(structure), "local", limits).drop(share)
    assert gone(structure, drop) == dict(zip(("conv", "hidden"), expected, strict=True))


def test_all_channels_ranked_together_by_their_scores_over_the_mean_of_their_family(structure):
    worth = rising(structure)
    conv, hidden = structure.families
    worth.update(dict.fromkeys(hidden.groups[16:], 10.0))  # the mean of hidden rises, its first half falls
    mean = {family: sum(worth[group] for group in family.groups) / len(family.groups) for family in (conv, hidden)}
    order = sorted((worth[group] / mean[family], group) for family in (conv, hidden) for group in family.groups)
    for share in (0.25, 0.5, 0.75):
        expected = {group for _, group in order[: round(share * 48)]}
        assert RemovalOrder(structure, worth, "global", LayerLimits(1, 0.01)).drop(share) == expected


def test_a_factor_on_all_scores_of_a_layer_changes_nothing(structure):
    for ranking in ("local", "global"):
        plain, scaled = (
            RemovalOrder(structure, rising(structure, *factors), ranking, LayerLimits()).drop(0.5)
            for factors in ((1.0, 1.0), (1.0, 1e6))
        )
        assert plain == scaled


def test_only_and_skip(structure):
    worth = rising(structure)
    choice = RemovalOrder(structure, worth, "local", LayerLimits(1, only=("Conv2D", "head")))
    assert gone(structure, choice.drop(0.5)) == {"conv": 8, "hidden": 0}
    assert choice.skipped == [("hidden", "left out by only/skip")]
    assert (
        gone(structure, RemovalOrder(structure, worth, "local", LayerLimits(1, skip=("conv",))).drop(0.5))["conv"] == 0
    )
    with pytest.raises(ModelError, match="'nothing' of 'only' matches no layer"):
        RemovalOrder(structure, worth, "local", LayerLimits(only=("nothing",)))
    with pytest.raises(ModelError, match="no channels are left to remove"):
        RemovalOrder(structure, worth, "local", LayerLimits(only=("head",)))


@pytest.mark.parametrize("limits", [{"only": ("Relu",)}, {"skip": ("Relu",)}])
def test_a_pattern_that_names_an_operation_alone_says_that_it_has_no_weights(limits):
    inputs = layers.Input((4,))
    x = keras.ops.relu(layers.Dense(8, name="hidden")(inputs))
    structure = read(keras.Model(inputs, layers.Dense(2, name="head")(x)))
    with pytest.raises(ModelError, match="an operation between layers, which has no weights"):
        RemovalOrder(structure, rising(structure), "local", LayerLimits(1, **limits))


def test_what_is_tied_to_a_chosen_layer_goes_along():
    inputs = layers.Input((4,))
    x = layers.Dense(8, name="first")(inputs)
    x = layers.Add()([x, layers.Dense(8, name="second")(layers.Dense(8, name="inner")(x))])
    structure = read(keras.Model(inputs, layers.Dense(2)(x)))
    drop = RemovalOrder(structure, rising(structure), "local", LayerLimits(1, only=("second",))).drop(0.5)
    assert [len(drop & set(family.groups)) for family in structure.families] == [4, 0]
    assert [family.paths for family in structure.families] == [("first", "second"), ("inner",)]
    with pytest.raises(ModelError, match="no channels are left"):
        RemovalOrder(structure, rising(structure), "local", LayerLimits(only=("first",), skip=("second",)))


def test_groups_without_a_score_stay(structure):
    worth = dict.fromkeys(structure.families[1].groups, 1.0)
    choice = RemovalOrder(structure, worth, "global", LayerLimits(1))
    assert gone(structure, choice.drop(0.9))["conv"] == 0
    assert ("conv", "the score says nothing of it") in choice.skipped


def test_the_heads_of_an_attention_are_not_rounded():
    inputs = layers.Input((5, 16))
    x = layers.MultiHeadAttention(4, 8, name="attention")(inputs, inputs)
    structure = read(keras.Model(inputs, layers.Dense(2)(x)))
    drop = RemovalOrder(structure, rising(structure), "local", LayerLimits(8)).drop(0.5)
    sizes = {len(family.groups): len(drop & set(family.groups)) for family in structure.families}
    assert sizes == {4: 2, 16: 8}


def test_the_channels_of_a_grouped_convolution_are_rounded_in_all():
    stack = [layers.Conv2D(32, 1), layers.Conv2D(32, 3, groups=4, name="grouped"), layers.Flatten()]
    structure = read(keras.Sequential([layers.Input((8, 8, 1)), *stack, layers.Dense(4)]))
    drop = RemovalOrder(structure, rising(structure), "local", LayerLimits(16)).drop(0.4)
    for family in structure.families:
        assert (len(family.groups), family.multiple, len(drop & set(family.groups))) == (8, 4, 4)


def test_no_layer_loses_all_where_its_channels_are_a_part_of_others():
    """Concatenated and added to a wide layer, all channels of `small` may be the worst."""
    inputs = layers.Input((4,))
    small, other = layers.Dense(4, name="small")(inputs), layers.Dense(28, name="other")(inputs)
    wide = layers.Add()([layers.Concatenate()([small, other]), layers.Dense(32, name="wide")(inputs)])
    structure = read(keras.Model(inputs, layers.Dense(2)(wide)))
    drop = RemovalOrder(structure, rising(structure), "local", LayerLimits(1, 0.25)).drop(0.5)
    assert len(drop) == 15  # one of the four of `small` stays
    left = structure.left(drop)
    assert left[structure.flows[id(structure.calls[0].operation)].outputs[0]].sum() == 1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda s: RemovalOrder(s, rising(s), "sideways", LayerLimits()), "ranking is 'local' or 'global'"),
        (lambda s: LayerLimits(0), "round_to is a number of channels"),
        (lambda s: LayerLimits(floor=0), "floor is the least share"),
        (lambda s: LayerLimits(floor=1.1), "floor is the least share"),
    ],
)
def test_what_is_refused(structure, made, message):
    with pytest.raises(InputError, match=message):
        made(structure)

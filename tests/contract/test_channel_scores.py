"""What every score of channels keeps to."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.errors import InputError
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.importance import SCORES, groups_of, score

NEW = """
from tfopt.sparsity.structured.importance import ChannelScore, groups_of

FIRST = ChannelScore("first", "The first channels are worth most.", lambda s, _: {g: -float(g) for g in groups_of(s)})
"""


@pytest.fixture(params=SCORES)
def channel_score(request):
    return SCORES[request.param]


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    stack = [layers.Conv2D(8, 3, name="conv"), layers.BatchNormalization(), layers.ReLU(), layers.Flatten()]
    model = keras.Sequential([layers.Input((8, 8, 1)), *stack, layers.Dense(12, name="hidden"), layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_the_registry_holds_the_documented_scores():
    assert list(SCORES) == ["l1", "l2", "activity", "batchnorm", "taylor", "random"]


def test_a_score_goes_by_its_word_in_a_file_of_that_word(channel_score, file_of):
    assert SCORES[channel_score.name] is channel_score
    norms = {"l1": "magnitude", "l2": "magnitude"}
    assert file_of(SCORES, channel_score) == norms.get(channel_score.name, channel_score.name)


def test_it_says_in_one_sentence_what_it_measures(channel_score):
    assert channel_score.about[0].isupper()
    assert channel_score.about.endswith(".")
    assert len(channel_score.about) <= 120


def test_it_gives_groups_finite_numbers_and_leaves_the_model_as_it_was(channel_score, model, blobs):
    before, structure = model.get_weights(), read(model)
    found = score(structure, channel_score.name, *blobs)
    assert found
    assert set(found) <= set(groups_of(structure))
    assert np.isfinite(list(found.values())).all()
    assert found == score(structure, channel_score.name, *blobs)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_samples_and_labels_that_it_needs_are_asked_for(channel_score, model, blobs):
    structure, needs = read(model), (channel_score.needs_samples, channel_score.needs_labels)
    assert needs != (False, True)
    given = blobs[: sum(needs)]
    assert score(structure, channel_score.name, *given)
    if given:
        with pytest.raises(InputError, match="hand over x"):
            score(structure, channel_score.name, *given[:-1])


def test_no_layer_loses_its_last_channel(channel_score, model, blobs):
    x, y = blobs
    small = tfopt.sparsity.remove(
        model, 0.02, score=channel_score.name, ranking="global", round_to=1, floor=1e-9, x=x, y=y
    ).model
    assert all(min(weight.shape) >= 1 for weight in small.weights)
    assert small.count_params() < model.count_params()
    assert np.isfinite(small(x[:4])).all()


def test_listing_them_imports_no_framework(listed_afresh):
    assert listed_afresh["tfopt.sparsity.structured.importance", "SCORES"] == [list(SCORES), []]


def test_a_new_file_is_a_new_score_of_the_stage(new_file, run_stage):
    new_file(SCORES, "first", NEW)
    artifact = run_stage("prune_channels: {keep: 0.5, score: first, epochs: 1}")
    assert {row["path"]: row["channels"] for row in artifact.details["layers"]}["hidden"] == [16, 8]
    assert "first" in tfopt.PruneChannels.model_json_schema()["properties"]["score"]["enum"]

"""Scores of channels, against NumPy and against what really happens when a channel goes."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.sparsity.structured.reference import scrambled, silenced
from tfopt.errors import InputError
from tfopt.quantization import quantize_aware
from tfopt.sparsity.structured.dependency_graph import read
from tfopt.sparsity.structured.importance import SCORES, normalized, score
from tfopt.sparsity.structured.importance.activity import activity
from tfopt.sparsity.structured.importance.batchnorm import batchnorm
from tfopt.sparsity.structured.importance.magnitude import magnitude
from tfopt.sparsity.structured.importance.random import random
from tfopt.sparsity.structured.importance.taylor import taylor


def network():
    stack = [layers.Conv2D(8, 3, name="conv"), layers.BatchNormalization(name="norm"), layers.ReLU()]
    stack += [layers.Flatten(), layers.Dense(12, activation="relu", name="hidden"), layers.Dense(4, name="head")]
    model = keras.Sequential([layers.Input((8, 8, 1)), *stack])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.fixture
def model():
    return scrambled(network())


def families(structure):
    return {family.paths[0]: family.groups for family in structure.families}


@pytest.mark.parametrize("order", [1, 2])
def test_magnitude_is_the_norm_of_all_that_makes_and_reads_a_channel(model, order):
    structure = read(model)
    found = magnitude(structure, order)
    conv, hidden, head = (model.get_layer(name).kernel.numpy() for name in ("conv", "hidden", "head"))
    taken = hidden.reshape(36, 8, 12)
    both = [np.abs(conv).reshape(9, 8), np.abs(taken.transpose(0, 2, 1).reshape(-1, 8))]
    expected = sum((part**order).sum(0) for part in both) ** (1 / order)
    np.testing.assert_allclose([found[group] for group in families(structure)["conv"]], expected, rtol=1e-5)
    expected = ((np.abs(hidden) ** order).sum(0) + (np.abs(head) ** order).sum(1)) ** (1 / order)
    np.testing.assert_allclose([found[group] for group in families(structure)["hidden"]], expected, rtol=1e-5)


def test_batchnorm_is_the_scale_and_says_nothing_of_layers_without(model):
    structure = read(model)
    found = batchnorm(structure)
    assert set(found) == set(families(structure)["conv"])
    scales = np.abs(model.get_layer("norm").gamma)
    np.testing.assert_allclose([found[group] for group in families(structure)["conv"]], scales, rtol=1e-6)


def test_activity_is_how_often_times_how_strongly_a_unit_fires(model, blobs):
    structure = read(model)
    found = activity(structure, blobs[0])
    inner = keras.Model(model.inputs[0], [model.layers[2].output, model.get_layer("hidden").output])
    fired, units = (np.asarray(array, np.float64) for array in inner(blobs[0]))
    for name, values in (("conv", fired.reshape(-1, 8)), ("hidden", units)):
        often = (values > 0).mean(0)
        strongly = values.sum(0) / np.maximum((values > 0).sum(0), 1)
        got = [found[group] for group in families(structure)[name]]
        np.testing.assert_allclose(got, often * strongly, rtol=0.02, atol=1e-3)


def test_a_unit_that_never_fires_has_no_activity(model, blobs):
    hidden = model.get_layer("hidden")
    bias = hidden.bias.numpy()
    bias[3] = -1e3
    hidden.bias.assign(bias)
    structure = read(model)
    found = activity(structure, blobs[0])
    assert found[families(structure)["hidden"][3]] == 0


def test_a_model_keeps_its_simulation_while_it_is_watched(model, blobs):
    """What quantization-aware training has put in place of a layer's call computes while scores are taken and after."""
    x = blobs[0][:64]
    plain, floating = activity(read(model), x), model(x).numpy()
    aware = quantize_aware(model, "int8", x)
    calls, on_grids = [vars(layer)["call"] for layer in model.layers], model(x).numpy()
    assert np.abs(on_grids - floating).max() > 0
    for _ in range(2):
        found = activity(read(model), x)
        assert found.keys() == plain.keys()
        apart = [abs(found[group] - plain[group]) for group in plain]
        assert 0 < max(apart) < 0.05 * max(plain.values())
    assert [vars(layer)["call"] for layer in model.layers] == calls
    np.testing.assert_array_equal(model(x).numpy(), on_grids)
    aware.strip()
    assert not any("call" in vars(layer) for layer in model.layers)
    np.testing.assert_array_equal(model(x).numpy(), floating)


def test_activity_of_attention_is_that_of_its_heads():
    inputs = layers.Input((6, 8))
    attention = layers.MultiHeadAttention(4, 3)
    model = scrambled(keras.Model(inputs, layers.Dense(2)(attention(inputs, inputs))))
    kernel = attention._value_dense.kernel.numpy()
    kernel[:, 2] = 0
    attention._value_dense.kernel.assign(kernel)
    attention._value_dense.bias.assign(np.zeros((4, 3)))
    structure = read(model)
    found = activity(structure, np.random.default_rng(0).normal(size=(10, 6, 8)).astype(np.float32))
    heads = next(family.groups for family in structure.families if family.single)
    assert [found[group] == 0 for group in heads] == [False, False, True, False]


@pytest.mark.sample(1)
def test_taylor_foretells_the_change_of_the_loss_of_a_small_weight(model, blobs):
    """One batch, units scaled until the first order is all there is: the loss moves by the root of the score."""
    x, y = blobs[0][:64], blobs[1][:64]
    hidden = model.get_layer("hidden")
    scale = np.full(12, 1.0, np.float32)
    scale[::2] = 1e-2
    hidden.kernel.assign(hidden.kernel.numpy() * scale)
    hidden.bias.assign(hidden.bias.numpy() * scale)
    structure = read(model)
    found = taylor(structure, x, y)
    before = float(model.loss(y, model(x)))
    for group in families(structure)["hidden"][::2]:
        cut = silenced(model, {group})
        moved = abs(float(model.loss(y, cut(x))) - before)
        assert moved == pytest.approx(np.sqrt(found[group]), rel=0.1, abs=2e-5)


def test_random_is_seeded_and_covers_every_group(model):
    structure = read(model)
    assert random(structure, 1) == random(structure, 1) != random(structure, 2)
    assert len(random(structure)) == 8 + 12


def test_normalized_scores_have_a_mean_of_one_in_every_family(model):
    structure = read(model)
    found = normalized(structure, magnitude(structure))
    for groups in families(structure).values():
        assert np.mean([found[group] for group in groups]) == pytest.approx(1)


def test_the_model_is_as_it_was_afterwards(model, blobs):
    before = model.get_weights()
    structure = read(model)
    for name in SCORES:
        score(structure, name, *blobs)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all("call" not in vars(layer) for layer in model.layers)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("l3", {}, "score is one of l1, l2"),
        ("activity", {}, "the score activity looks at samples: hand over x"),
        ("taylor", {"x": 1}, "the score taylor looks at samples and their labels: hand over x and y"),
    ],
)
def test_what_is_missing_is_named(model, name, given, words):
    with pytest.raises(InputError, match=words):
        score(read(model), name, **given)


def test_taylor_without_a_loss_is_refused(blobs):
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(8), layers.Dense(4)])
    with pytest.raises(InputError, match="needs a loss"):
        taylor(read(model), *blobs)

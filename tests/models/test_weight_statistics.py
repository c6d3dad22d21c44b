"""The weights of each layer, against the arrays themselves."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.inspection import inspect
from tfopt.models.weight_statistics import BINS, MOST_HISTOGRAMS, MOST_LAYERS, choose, compare, lost, snapshot
from tfopt.recipe.details.weights import WeightsByLayer


@pytest.fixture
def model():
    """Layers with and without weights, one of them used twice, and statistics that do not train."""
    shared = layers.Dense(6, name="shared")
    x = inputs = layers.Input((4, 4, 2))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(6, 3, padding="same", name="conv")(x))
    x = layers.Dropout(0.5, seed=1, name="drop")(x)
    x = shared(shared(x))
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def rows_of(after, before=None):
    return {row.layer: row for row in WeightsByLayer.from_json(compare(after, before)).rows}


def test_every_layer_with_weights_is_there_once_with_its_own_figures(model):
    kernel = model.get_layer("conv").kernel
    kernel.assign(np.where(np.arange(kernel.numpy().size).reshape(kernel.shape) % 3, 0.5, 0))
    rows = rows_of(snapshot(model))
    assert list(rows) == ["conv", "norm", "shared", "head"]
    conv = rows["conv"].after
    assert (conv.precision, conv.parameters, conv.bytes) == ("float32", 114, 456)
    assert (conv.kernels, conv.zeros, conv.values) == (108, 36, 2)
    assert conv.sparsity == pytest.approx(1 / 3)
    norm = rows["norm"].after
    assert (norm.parameters, norm.kernels, norm.zeros, norm.values, norm.histogram) == (24, 0, 0, None, ())
    assert rows["norm"].ends is None
    assert rows["head"].after.values is None or rows["head"].after.values <= 256


def test_the_figures_are_those_of_inspect(model):
    parts = {part.name: part for part in inspect(model).parts}
    for name, row in rows_of(snapshot(model)).items():
        assert (row.kind, row.after.precision) == (parts[name].kind, parts[name].dtype)
        assert (row.after.parameters, row.after.bytes) == (parts[name].parameters, parts[name].bytes)
    assert sum(row.after.bytes for row in rows_of(snapshot(model)).values()) == 4 * model.count_params()


def test_a_histogram_is_that_of_numpy_without_the_zeros(model):
    head = model.get_layer("head")
    values = np.random.default_rng(0).normal(size=head.kernel.shape).astype(np.float32)
    values[:40] = 0
    head.set_weights([values, np.ones(3)])
    row = rows_of(snapshot(model))["head"]
    reach = float(np.abs(values).max())
    assert row.ends == pytest.approx((-reach, reach))
    expected, _ = np.histogram(values[values != 0], BINS, (-reach, reach))
    np.testing.assert_allclose(np.array(row.after.histogram) * values.size, expected, atol=1e-3)
    assert sum(row.after.histogram) == pytest.approx(1 - row.after.sparsity, abs=1e-4)


def test_before_and_after_have_the_same_ends_though_the_model_was_changed_in_place(model):
    before = snapshot(model)
    conv = model.get_layer("conv")
    old = conv.kernel.numpy()
    conv.kernel.assign(np.where(np.abs(old) < np.median(np.abs(old)), 0, 3 * old))
    row = rows_of(snapshot(model), before)["conv"]
    assert row.before.zeros == 0
    assert row.after.zeros == 54
    assert row.ends[1] == pytest.approx(3 * np.abs(old).max())
    reached = [share > 0 for share in row.before.histogram]
    assert not any(reached[: BINS // 3])
    assert not any(reached[-(BINS // 3) :])


def test_a_choice_of_very_many_weights_is_spread_as_they_are():
    values = np.random.default_rng(0).normal(size=(512, 1024)).astype(np.float32)
    values[:, ::2] = 0  # every other channel, which an even stride would see all or nothing of
    chosen = choose([values, np.full((64, 64), 9.0, np.float32)])
    assert 30_000 < chosen.size < 36_000
    assert chosen[chosen < 8].std() == pytest.approx(1, abs=0.03)
    assert (chosen == 9).mean() == pytest.approx(4096 / (4096 + 512 * 512), abs=0.003)
    np.testing.assert_array_equal(choose([values]), choose([values]))


def test_of_very_many_layers_the_largest_are_kept():
    inputs = x = layers.Input((2,))
    for number in range(MOST_LAYERS + 5):
        x = layers.Dense(3 if number < 10 else 2, name=f"layer{number}")(x)
    found = WeightsByLayer.from_json(compare(snapshot(keras.Model(inputs, x))))
    assert (len(found.rows), found.others) == (MOST_LAYERS, 5)
    assert sum(row.ends is not None for row in found.rows) == MOST_HISTOGRAMS
    assert [row.layer for row in found.rows][:12] == [f"layer{number}" for number in range(12)]
    assert found.largest.layer == "layer1"
    assert found.overhead is None
    assert len(json.dumps(found.to_json())) < 150_000


def test_weights_that_are_all_zero_or_not_finite_make_no_trouble(model):
    model.get_layer("head").kernel.assign(np.zeros((96, 3)))
    model.get_layer("shared").kernel.assign(np.full((6, 6), np.nan))
    rows = rows_of(snapshot(model))
    assert rows["head"].after.sparsity == 1
    assert sum(rows["head"].after.histogram) == 0
    assert rows["shared"].ends is None


@pytest.fixture
def trained():
    """A model of one kernel of 2,000 weights, and a way to give it others."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((40,)), keras.layers.Dense(50, name="hidden")])
    return model, model.get_layer("hidden").kernel


def test_zeros_and_shared_values_that_a_training_took_are_said(trained):
    model, kernel = trained
    dense = kernel.numpy()
    kernel.assign(np.where(np.abs(dense) < np.quantile(np.abs(dense), 0.8), 0, dense))
    pruned = snapshot(model)
    kernel.assign(np.sign(kernel.numpy()))
    clustered = snapshot(model)
    kernel.assign(dense)
    after = snapshot(model)
    zeros = "80% of the weights were zero before this training, and 0% are: prune after it."
    assert lost(pruned, after) == zeros
    own = "this training gave the weights of hidden values of their own: cluster after it."
    assert lost(clustered, after) == f"{zeros} {own}"
    assert lost(clustered, pruned) == own


def test_of_what_a_training_keeps_or_brings_nothing_is_said(trained):
    model, kernel = trained
    dense = snapshot(model)
    kernel.assign(np.round(kernel.numpy(), 1))
    rounded = snapshot(model)
    assert lost(dense, rounded) == lost(rounded, rounded) == lost(dense, dense) == ""
    for constant in (0.0, 0.3):
        kernel.assign(np.full(kernel.shape, constant))
        assert lost(snapshot(model), dense) == ""  # one may begin a training with such a kernel


def test_layers_that_were_not_built_before_a_training_are_no_loss(trained):
    model, _ = trained
    built = snapshot(model)
    assert lost([], built) == ""

"""What a candidate will cost against what the file costs that is made of the same weights."""

import gzip
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.search.cost_model import Cost, CostModel
from tfopt.search.model_profile import ModelProfile, SearchBounds
from tfopt.search.space import Candidate, Space, channel_shares
from tfopt.sparsity.clustering import cluster
from tfopt.sparsity.magnitude import magnitude_mask

ALLOWED = SearchBounds((0.01, 1.0), (8, 4), (0, 8, 16), (0.5, 1.0))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(96, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((64, 12, 12, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def profile(model, x):
    return ModelProfile(model, ALLOWED, x)


def made(model, x, density, bits, clusters):
    """The file of the model with its kernels pruned and gathered, not trained."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if layer.weights:
            weights = layer.kernel.numpy()
            weights = np.where(magnitude_mask(weights, 1 - density), weights, 0).astype(np.float32)
            layer.kernel.assign(cluster(weights, clusters).weights if clusters else weights)
    rules = [{"layers": "*", "to": "int4"}] if bits == 4 else []
    return tfopt.convert(copy, "int8", x, rules=rules)


@pytest.mark.sample(4)
@pytest.mark.parametrize("density", [1.0, 0.3, 0.1])
@pytest.mark.parametrize(("bits", "clusters"), [(8, 0), (4, 0), (8, 8)])
def test_the_sizes_are_those_of_the_file(model, x, profile, density, bits, clusters):
    space = profile.space
    candidate = Candidate(dict.fromkeys(space.groups, density), dict.fromkeys(space.four, bits), clusters)
    said, file = profile.forecast(candidate), made(model, x, density, bits, clusters)
    assert said.raw_bytes == pytest.approx(len(file), rel=0.03)
    assert said.gzip_bytes == pytest.approx(len(gzip.compress(file, 9)), rel=0.12)


def test_the_model_as_it_is_costs_what_its_file_does(profile):
    whole = Candidate(dict.fromkeys(profile.space.groups, 1.0), dict.fromkeys(profile.space.four, 8))
    assert profile.forecast(whole) == replace(profile.base, spread=0.0)
    assert profile.base.raw_bytes == len(profile.content)


def test_fewer_channels_cost_less_of_everything(model, x, profile):
    whole = Candidate(dict.fromkeys(profile.space.groups, 1.0), dict.fromkeys(profile.space.four, 8))
    half = Candidate(whole.density, whole.bits, 0, 0.5)
    said = profile.forecast(half)
    smaller = tfopt.sparsity.remove(model, 0.5, score="l2", ranking="global", round_to=4).model
    file = tfopt.convert(smaller, "int8", x)
    assert said.raw_bytes == pytest.approx(len(file), rel=0.15)
    assert said.gzip_bytes == pytest.approx(len(gzip.compress(file, 9)), rel=0.15)
    assert said.milliseconds < profile.base.milliseconds


def test_files_that_were_made_correct_the_next_forecast():
    space = Space({"a": ("a",)}, frozenset(), (0.1, 1.0), (8,), (0,), channel_shares(1.0, 1.0))
    kernel = np.random.default_rng(0).normal(size=(64, 64))
    forecast = CostModel(space, {"a": [kernel]}, Cost(6000, 5000, 2.0), lambda share: ({}, 1.0))
    candidate = Candidate({"a": 0.2}, {})
    before = forecast(candidate)
    real = Cost(before.raw_bytes * 1.5, before.gzip_bytes * 0.5, 3.0)
    forecast.learn([(candidate, real)])
    corrected = forecast(candidate)
    for name in ("raw_bytes", "gzip_bytes", "milliseconds"):
        assert corrected.figure(name) == pytest.approx(real.figure(name))
    forecast.learn([])
    assert forecast(candidate) == before


def test_a_large_kernel_is_measured_on_a_part_of_it():
    kernel = np.random.default_rng(0).normal(size=(1000, 300))
    space = Space({"a": ("a",)}, frozenset(), (0.1, 1.0), (8,), (0,), channel_shares(1.0, 1.0))
    forecast = CostModel(space, {"a": [kernel]}, Cost(310_000, 300_000, 2.0), lambda share: ({}, 1.0))
    rows = np.rint(kernel.T / np.abs(kernel.T).max(axis=1, keepdims=True) * 127).astype(np.int8)
    rows[~magnitude_mask(kernel, 0.9).T] = 0
    dense = np.rint(kernel.T / np.abs(kernel.T).max(axis=1, keepdims=True) * 127).astype(np.int8)
    saved = len(gzip.compress(dense.tobytes(), 9)) - len(gzip.compress(rows.tobytes(), 9))
    assert 300_000 - forecast(Candidate({"a": 0.1}, {})).gzip_bytes == pytest.approx(saved, rel=0.03)


def test_what_has_no_int4_form_is_named():
    growing = keras.Sequential(
        [layers.Input((6, 6, 4)), layers.Conv2DTranspose(8, 3), layers.Flatten(), layers.Dense(3)]
    )
    found = ModelProfile(growing, ALLOWED, np.random.default_rng(0).random((32, 6, 6, 4)).astype(np.float32))
    [transposed] = [layer.name for layer in growing.layers if isinstance(layer, layers.Conv2DTranspose)]
    assert transposed not in found.space.four
    assert any("8 bits" in reason for where, reason in found.skipped if where == transposed)


def test_a_model_whose_channels_cannot_go_keeps_them_and_says_why():
    plain = keras.Sequential([layers.Input((20,)), layers.Dense(5)])
    found = ModelProfile(plain, ALLOWED, np.random.default_rng(0).random((32, 20)).astype(np.float32))
    assert found.space.channels == (1.0,)
    assert "channels" not in found.space.distributions()
    assert any(where == "(channels)" for where, _ in found.skipped)


def test_the_thinnest_candidate_is_the_smallest(profile):
    least = profile.forecast(profile.thinnest())
    others = [
        Candidate(dict.fromkeys(profile.space.groups, 0.3), dict.fromkeys(profile.space.four, bits)) for bits in (8, 4)
    ]
    assert all(least.gzip_bytes < profile.forecast(other).gzip_bytes for other in others)

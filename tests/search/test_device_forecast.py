"""What a file will cost on a target against what the target's own tool says of the file."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tests.search.test_cost_model import made
from tfopt.recipe.export import Export
from tfopt.recipe.target import TARGETS, all_figures
from tfopt.search.cost_model import Cost, CostModel
from tfopt.search.device_forecast import THIN, DeviceForecast
from tfopt.search.model_profile import ModelProfile, SearchBounds, on_device
from tfopt.search.space import Candidate, Space, channel_shares
from tfopt.search.thin_file import thinned
from tfopt.targets.ethos_u_weights import encoded_bytes
from tfopt.tflite.file import read
from tfopt.tflite.weights import StoredWeights

SPACE = Space({"a": ("a",)}, frozenset(), (0.05, 1.0), (8,), (0, 16), channel_shares(0.5, 1.0))
KERNEL = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)


def nonzero(codes):
    """A coding of a byte for each weight that is not zero."""
    return float(np.count_nonzero(codes))


def model(whole, thin, coding=nonzero, cut=lambda share: ({"a": share}, share)):
    return CostModel(
        SPACE, {"a": [KERNEL]}, Cost(20_000, 18_000, 2.0), cut, DeviceForecast(all_figures(), coding, whole, thin)
    )


def test_both_files_that_were_measured_are_forecast_as_they_are():
    whole, thin = {"npu_milliseconds": 0.3, "sram_bytes": 900.0}, {"npu_milliseconds": 0.1, "sram_bytes": 900.0}
    forecast = model(whole, thin)
    assert forecast(Candidate({"a": 1.0})).device == pytest.approx(whole, rel=0.02)  # some codes of weights round to 0
    assert forecast(Candidate({"a": THIN})).device == pytest.approx(thin, rel=0.02)
    between = forecast(Candidate({"a": (1 + THIN) / 2})).device
    assert between["npu_milliseconds"] == pytest.approx(0.2, rel=0.02)


def test_what_zeros_do_not_change_shrinks_with_operations_and_channels():
    figures = {"npu_milliseconds": 0.3, "sram_bytes": 900.0, "compiled_bytes": 20_000.0}
    forecast = model(figures, figures, cut=lambda share: ({"a": share**2}, share**2))
    half = forecast(Candidate({"a": 1.0}, {}, 0, 0.5)).device
    assert half == pytest.approx({"npu_milliseconds": 0.075, "sram_bytes": 450.0, "compiled_bytes": 20_000.0})


def test_memory_is_that_of_decoded_kernels_where_thin_ones_are_decoded():
    forecast = model({"arena_bytes": 900.0}, {"arena_bytes": 9000.0})
    assert forecast(Candidate({"a": 0.3})).device == {"arena_bytes": 9000.0}


def test_without_a_coding_only_the_file_shrinks():
    forecast = model({"flash_bytes": 20_000.0, "arena_bytes": 4_000.0}, {}, coding=None)
    whole, thin = (forecast(Candidate({"a": density})).device for density in (1.0, 0.1))
    assert thin == whole
    narrow = forecast(Candidate({"a": 1.0}, {}, 0, 0.5)).device
    assert narrow == pytest.approx({"flash_bytes": 20_000 - KERNEL.size / 2, "arena_bytes": 2_000})


def test_files_that_were_made_correct_it():
    forecast = model({"npu_milliseconds": 0.3}, {"npu_milliseconds": 0.1})
    candidate = Candidate({"a": 0.5})
    before = forecast(candidate)
    forecast.learn([(candidate, Cost(9_000, 9_000, 1.0, device={"npu_milliseconds": 0.21}))])
    assert forecast(candidate).device == pytest.approx({"npu_milliseconds": 0.21})
    forecast.learn([])
    assert forecast(candidate) == before


def test_a_pattern_that_the_target_computes_faster_is_a_part_of_the_space():
    space = Space({"a": ("a",), "b": ("b",)}, frozenset(), (0.05, 1.0), (8,), (0,), (1.0,), ("2:4",))
    assert tuple(space.distributions()["pattern"].choices) == ("", "2:4")
    found = space.candidate({"density a": 0.9, "density b": 0.1, "pattern": "2:4"})
    assert found.keep == (2, 4)
    assert found.density == {"a": 0.5, "b": 0.5}
    assert found.denser(0.5, (0.05, 1.0)) == found
    assert Candidate.read(found.parameters()) == found
    assert space.candidate({"density a": 0.9, "pattern": ""}).keep is None


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    net = keras.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(96, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return net, np.random.default_rng(0).random((64, 12, 12, 1)).astype(np.float32)


def test_a_thinned_file_has_the_smallest_weights_of_its_kernels_zero(network):
    content = tfopt.convert(*[network[0], "int8", network[1]], slim=False)
    before, after = StoredWeights(content), StoredWeights(thinned(content, 0.25))
    kernels = {tensor.name for op in read(content).ops for tensor in op.kernels}
    assert len(kernels) == 4
    for tensor in read(content).tensors:
        one, other = before(tensor.name), after(tensor.name)
        if tensor.name not in kernels:
            assert np.array_equal(one, other)
            continue
        assert np.count_nonzero(other) == pytest.approx(0.25 * one.size, abs=1)
        assert np.array_equal(other[other != 0], one[other != 0])


@pytest.mark.slow
def test_on_an_ethos_u_estimates_are_near_what_vela_says(network):
    pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed (tfopt[ethos-u])")
    net, x = network
    export = Export(mode="int8", target="ethos-u55-128")
    bounds = SearchBounds((0.01, 1.0), (8, 4), (0, 8, 16), (0.5, 1.0))
    profile = ModelProfile(net, bounds, x, export)
    space = profile.space
    assert not space.four
    assert profile.base.device["npu_milliseconds"] > 0
    forms = [(1.0, 8), (0.5, 0), (0.3, 16), (0.1, 0), (0.1, 8)]
    for density, clusters in forms:
        said = profile.forecast(Candidate(dict.fromkeys(space.groups, density), {}, clusters)).device
        true = on_device(made(net, x, density, 8, clusters), export, {})
        for name in ("encoded_weight_bytes", "compiled_bytes"):
            assert said[name] == pytest.approx(true[name], rel=0.12), (name, density, clusters)
        # Few weights leave the time to the multiplications; Vela's buffers for the weight stream grow and shrink.
        for name in ("npu_milliseconds", "total_cycles", "sram_bytes"):
            assert said[name] == pytest.approx(true[name], rel=0.25), (name, density, clusters)


@pytest.mark.slow
def test_encoded_bytes_of_kernels_are_those_of_files_that_vela_compiles():
    pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed (tfopt[ethos-u])")
    said, true = [], []
    for density, values in ((1.0, 255), (0.5, 255), (0.2, 255), (1.0, 16), (0.2, 16)):
        generator = np.random.default_rng(1)
        weights = np.rint(generator.normal(size=(256, 128)) / 4 * (values // 2)) / (values // 2)
        weights[generator.random(weights.shape) > density] = 0
        net = keras.Sequential([layers.Input((256,)), layers.Dense(128, use_bias=False)])
        net.layers[0].kernel.assign(weights)
        content = tfopt.convert(net, "int8", generator.normal(size=(32, 256)).astype(np.float32), scales="tensor")
        [kernel] = [op.kernels[0] for op in read(content).ops if op.kernels]
        codes = np.rint(weights.T / np.abs(weights).max() * 127)
        assert kernel.size == codes.size
        cost = TARGETS["ethos-u55-128"].cost(content, Export(mode="int8", target="ethos-u55-128"))
        true.append(cost.figures["encoded_weight_bytes"])
        said.append(encoded_bytes(codes))
    ratios = np.array(said) / true
    assert np.abs(ratios - 1).max() < 0.02
    assert np.corrcoef(said, true)[0, 1] > 0.995

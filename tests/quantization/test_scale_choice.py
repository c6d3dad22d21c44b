"""Scales of pruned kernels: a target that stores it in fewer bytes with one each gets that, if the file is as exact."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.quantization import scale_choice
from tfopt.quantization.preparation import prepare
from tfopt.quantization.scale_choice import with_chosen_scales
from tfopt.recipe.device_cost import DeviceCost
from tfopt.recipe.export import Export
from tfopt.recipe.figure import Figure, by_name
from tfopt.recipe.target import TARGETS
from tfopt.tflite.file import read


def scales(content):
    return max(tensor.scales for op in read(content).ops for tensor in op.kernels)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(32, 24)).astype(np.float32)


def network(density):
    keras.utils.set_random_seed(3)
    net = keras.Sequential([layers.Input((24,)), layers.Dense(16, activation="relu"), layers.Dense(4)])
    kernel = net.layers[0].kernel
    mask = np.random.default_rng(1).random(kernel.shape) < density
    kernel.assign(kernel.numpy() * mask)
    return net


@pytest.fixture
def board(monkeypatch):
    """A target that stores a file in as many bytes as `cost` says of the number of scales of its kernels."""

    def made(cost=lambda scales: 1000.0 + scales, coding=np.count_nonzero):
        target = replace(
            TARGETS["int_only"],
            name="board",
            cost=lambda content, export: DeviceCost({"stored_bytes": cost(scales(content))}),
            figures=by_name(Figure("stored_bytes", "stored", "bytes", "size")),
            size="stored_bytes",
            coding=lambda export: coding,
        )
        monkeypatch.setattr(TARGETS, "_found", {**dict(TARGETS.items()), "board": target})
        return lambda density, x, **settings: prepare(network(density), Export(target="board", **settings), x)

    return made


def test_one_scale_a_kernel_is_taken_where_that_is_smaller(board, x):
    found = with_chosen_scales(board()(0.3, x))
    assert scales(found.file) == 1
    assert found.notes[-1] == "scales: one a kernel (stored bytes 1,001; one for each channel: 1,016)"


def test_a_scale_for_each_channel_stays_where_it_is_no_larger(board, x):
    found = with_chosen_scales(board(lambda scales: 1000.0)(0.3, x))
    assert scales(found.file) == 16
    assert "scales: one for each channel (stored bytes 1,000; one a kernel: 1,000)" in found.notes


def test_a_file_that_is_too_noisy_or_loses_the_metric_is_not_taken(board, x, monkeypatch):
    asked = []
    prepared = board()(0.3, x)
    found = with_chosen_scales(prepared, lambda content: asked.append(scales(content)) or False)
    assert asked == [1]
    assert scales(found.file) == 16
    assert "one a kernel was too noisy, did not keep the metric (stored bytes 1,001" in found.notes[-1]
    monkeypatch.setattr(scale_choice, "LEAST_SNR_DB", 300.0)
    found = with_chosen_scales(board()(0.3, x))
    assert scales(found.file) == 16
    assert "too noisy, SNR " in found.notes[-1]


@pytest.mark.parametrize("why", ["dense", "asked for", "stored as they are"])
def test_what_nobody_asked_about_stays(board, x, why):
    prepared = board(coding=None if why == "stored as they are" else np.count_nonzero)(
        1.0 if why == "dense" else 0.3, x, **({"scales": "channel"} if why == "asked for" else {})
    )
    assert with_chosen_scales(prepared) is prepared

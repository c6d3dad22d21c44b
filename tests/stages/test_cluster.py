"""Stage `cluster`: the values it leaves, through to the file, and what it refuses."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tfopt
from tfopt.callbacks import Clustering
from tfopt.data.splits import Data, Split
from tfopt.recipe.stage import Context
from tfopt.tflite.file import read
from tfopt.training import trainer

MODEL = """
import keras
from keras import layers


def build():
    return keras.Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu", name="conv"), layers.Flatten(),
        layers.Dense(32, activation="relu", name="hidden"), layers.Dense(10, activation="softmax", name="head"),
    ])
"""


@pytest.mark.slow
def test_zeros_and_values_last_through_to_a_smaller_file(recipe):
    path = recipe(
        "train: {epochs: 3}",
        "prune: {sparsity: 0.9, epochs: 2}",
        "quantize: {name: pruned}",
        "cluster: {after: prune, clusters: 8, biases: 4, rules: [{layers: head, clusters: 16}], epochs: 2}",
        "quantize: {name: shared}",
        "quantize: {name: channels, after: cluster, scales: channel}",
        "verify: {}",
    )
    made = tfopt.run(path, out=path.parent / "out").artifacts
    assert made["cluster"].metrics["sparsity"] == pytest.approx(made["prune"].metrics["sparsity"], abs=1e-6)
    values = made["cluster"].details["distinct_values"]
    assert values == {
        "conv/kernel": 8,
        "hidden/kernel": 8,
        "head/kernel": 16,
        **dict.fromkeys(("conv/bias", "hidden/bias", "head/bias"), 4),
    }
    kernels = [op.kernels[0] for op in read(made["shared"].path).ops if op.kernels]
    assert [kernel.scales for kernel in kernels] == [8, 1, 1]  # the seven weights left in the first share nothing
    assert [kernel.distinct for kernel in kernels[1:]] == [8, 16]
    assert kernels[0].distinct <= 8  # of its few weights two may be as good as one in 8 bits
    sizes = {name: made[name].metrics["gzip_bytes"] for name in ("pruned", "shared", "channels")}
    assert sizes["shared"] < 0.8 * sizes["pruned"]
    assert sizes["shared"] < sizes["channels"]
    files = made["verify"].files
    assert files["shared"]["agreement"] > 0.98


@pytest.mark.slow
def test_a_file_of_coded_kernels_takes_the_bytes_asked_for_and_those_of_an_empty_one(recipe):
    path = recipe(
        "train: {epochs: 3}",
        "prune: {sparsity: 0.5, epochs: 2}",
        "cluster: {clusters: 8, biases: 2, coded_bytes: 0.9 KB, epochs: 4}",
        "quantize: {}",
        "cluster: {name: fewer, after: prune, clusters: 8, biases: 2, coded_bytes: 450, epochs: 4}",
        "quantize: {name: smaller, after: fewer}",
    )
    made = tfopt.run(path, out=path.parent / "out").artifacts
    sizes = [made[name].metrics["gzip_bytes"] for name in ("quantize", "smaller")]
    assert sizes[0] - sizes[1] == pytest.approx(450, abs=100)
    assert made["fewer"].metrics["sparsity"] > made["cluster"].metrics["sparsity"] > made["prune"].metrics["sparsity"]


@pytest.mark.slow
def test_too_few_bytes_are_a_warning_of_the_result(recipe):
    path = recipe("cluster: {clusters: 4, coded_bytes: 1, epochs: 1}")
    made = tfopt.run(path, out=path.parent / "out").artifacts["cluster"]
    assert "coded_bytes 1 is too few: the kernels take" in str(made.details)


@pytest.mark.parametrize("counted", [{}, {"coded_bytes": 110, "end": 1.0}])
def test_an_interrupted_clustering_ends_with_the_weights_of_an_uninterrupted_one(counted, blobs, interrupted, tmp_path):
    def clustering():
        return Clustering(6, biases=3, **counted)

    def build():
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)  # a few steps: sooner than traced
        return model

    x, y = blobs
    data = Data(Split(x[:64], y[:64]), Split(x[64:80], y[64:80]), Split(x[80:96], y[80:96]))
    settings = trainer.FitSettings(epochs=4)
    whole, cut, resumed = build(), build(), build()
    trainer.fit(whole, data, settings, tmp_path / "whole", [clustering()])
    interrupted(lambda stop: trainer.fit(cut, data, settings, tmp_path / "cut", [clustering(), stop]))
    trainer.fit(resumed, data, settings, tmp_path / "cut", [clustering()])
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("cluster: {epochs: 1}", "cluster.clusters is missing"),
        ("cluster: {epochs: 1, clusters: 1}", "clusters"),
        ("cluster: {epochs: 1, clusters: 8, biases: 1}", "biases"),
        ("cluster: {epochs: 1, clusters: 8, coded_bytes: 0}", "coded_bytes"),
        ("cluster: {epochs: 1, clusters: 8, end: 0.5}", "end means nothing without coded_bytes"),
        ("cluster: {epochs: 1, clusters: 8, rules: [{layers: head, clusters: 1}]}", "at least 2. Received: 1"),
        ("cluster: {epochs: 1, clusters: 8, rules: [{layers: haed, clusters: 4}]}", "Did you mean 'head'"),
        ("cluster: {epochs: 1, clusters: 8, only: haed}", "Did you mean 'head'"),
        ("cluster: {epochs: 1, clusters: 8, rules: [{layers: '*', clusters: 0}]}", "no layer is left to cluster"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(recipe, stage, words):
    path = recipe(stage)
    with pytest.raises(tfopt.InputError) as caught:
        tfopt.validate(path)
    assert words in str(caught.value)
    assert f"{path}:6: " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_bytes_are_not_counted_on_several_devices(recipe):
    path = recipe("cluster: {epochs: 1, clusters: 8, coded_bytes: 900}")
    runtime = {"strategy": "mirrored", "devices": ["CPU:0", "CPU:1"]}
    with pytest.raises(tfopt.InputError, match="coded_bytes is for a training on one device") as caught:
        tfopt.validate(tfopt.Recipe.load(path, runtime=runtime))
    assert f"{path}:6: " in str(caught.value)
    stage = tfopt.Cluster(epochs=1, clusters=8, coded_bytes=900)
    context = Context("x", "", None, None, 0, devices=SimpleNamespace(strategy=SimpleNamespace(num_replicas_in_sync=2)))
    with pytest.raises(tfopt.InputError, match="Received: 2") as caught:
        stage.check(None, context)
    assert caught.value.field == ("coded_bytes",)

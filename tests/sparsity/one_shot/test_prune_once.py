"""One-shot pruning of models: where inputs are redundant, half of the weights go and little of the outputs does."""

import keras
import numpy as np
import pytest
from keras import layers

import tfopt
from tfopt.errors import InputError, TfoptWarning
from tfopt.sparsity import magnitude_mask, prune_once

SAMPLES = 300


@pytest.fixture(scope="module")
def x():
    """Eight values of which four say all, none with a mean of 0."""
    four = np.random.default_rng(0).normal(1, 1, (SAMPLES, 4))
    return np.concatenate([four, four * [1, 2, 0.5, 1.5]], axis=1).astype(np.float32)


def off(model, x, before):
    """The error of the outputs, against their own size."""
    after = model.predict(x, verbose=0)
    return float(np.sqrt(np.mean((after - before) ** 2) / np.mean((before - before.mean(0)) ** 2)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(16, activation="relu"), layers.Dense(3)

    def call(self, x):
        return self.second(self.first(x))


def functional():
    a = layers.Input((8,), name="a")
    shared = layers.Dense(8, activation="relu", name="shared")
    inner = keras.Sequential([layers.Input((8,)), layers.Dense(12, use_bias=False), layers.BatchNormalization()])
    hidden = layers.Add()([shared(a), shared(layers.Rescaling(0.5)(a))])
    return keras.Model(a, layers.Dense(3, name="head")(layers.Concatenate()([inner(hidden), a])))


@pytest.mark.parametrize("build", [Subclassed, functional], ids=["subclassed", "shared and nested"])
def test_the_weights_that_stay_make_up_for_the_others(build, x):
    keras.utils.set_random_seed(0)
    model = build()
    model(x, training=True)
    before, weights = model.predict(x, verbose=0), model.get_weights()
    result = prune_once(model, 0.5, x)
    compensated = off(model, x, before)
    assert result.skipped == ()
    assert all(share == pytest.approx(0.5, abs=0.02) for share in result.sparsity.values())
    assert len(result.sparsity) == (2 if build is Subclassed else 3)
    model.set_weights(weights)
    prune_once(model, 0.5, method="magnitude")
    assert compensated < 0.35 * off(model, x, before)


def test_without_a_nonlinearity_next_to_nothing_is_lost_and_the_means_stay(x):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((8,)),
            layers.Dense(6, use_bias=False, name="first"),
            layers.BatchNormalization(),
            layers.Dense(3),
        ]
    )
    model(x, training=True)
    before = model.predict(x, verbose=0)
    prune_once(model, 0.4, x, only="first")
    assert off(model, x, before) < 0.15  # what the damping takes
    np.testing.assert_allclose(model.predict(x, verbose=0).mean(0), before.mean(0), atol=1e-4)


def test_magnitude_makes_the_masks_of_tf_mot(x):
    model = keras.Sequential([layers.Input((8,)), layers.Dense(6, name="first")])
    kernel = model.layers[0].kernel.numpy()
    assert prune_once(model, 0.7, method="magnitude").sparsity == {"first/kernel": pytest.approx(0.7, abs=0.02)}
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), kernel * magnitude_mask(kernel, 0.7))


def test_what_is_no_product_is_left_and_told_and_depthwise_kernels_silently():
    model = keras.Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.DepthwiseConv2D(3),
            layers.Conv2DTranspose(4, 2),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    weights = model.get_weights()
    x = np.random.default_rng(0).normal(size=(50, 6, 6, 2)).astype(np.float32)
    with pytest.warns(TfoptWarning, match="leaves conv2d_transpose.* alone: it is pruned by magnitude alone") as told:
        result = prune_once(model, 0.5, x)
    assert len(told) == 1
    assert [where.rstrip("_0123456789") for where, _ in result.skipped] == ["depthwise_conv2d", "conv2d_transpose"]
    for old, new in zip(weights[:4], model.get_weights()[:4], strict=True):
        np.testing.assert_array_equal(old, new)


def test_several_inputs_and_patterns(x):
    a, b = layers.Input((8,), name="a"), layers.Input((8,), name="b")
    joined = layers.Concatenate()([layers.Dense(8, name="left")(a), layers.Dense(8, name="right")(b)])
    model = keras.Model([a, b], layers.Dense(4, name="head")(joined))
    inputs = {"a": x, "b": x[::-1]}
    prune_once(model, x=inputs, keep=(2, 4))
    for name in ("left", "head"):
        kernel = model.get_layer(name).kernel.numpy()
        assert ((kernel != 0).reshape(-1, 4, kernel.shape[1]).sum(axis=1) == 2).all()
    found = prune_once(model, 0.75, inputs, allocation="global", rules={"head": 0.5}).sparsity
    assert found["head/kernel"] == 0.5
    assert found["left/kernel"] + found["right/kernel"] == pytest.approx(1.5, abs=0.06)


def test_an_error_changes_nothing_and_says_the_way_out(x, monkeypatch):
    model = keras.Sequential([layers.Input((8,)), layers.Dense(6), layers.Dense(3)])
    weights = model.get_weights()
    with pytest.raises(InputError, match="sparsegpt prunes on samples"):
        prune_once(model, 0.5)
    with pytest.raises(InputError, match="method is 'magnitude' or 'sparsegpt'"):
        prune_once(model, 0.5, x, method="obs")
    calls = []

    def fails(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise np.linalg.LinAlgError("singular")
        return np.zeros_like(arguments[0].weights)

    method = type(tfopt.sparsity.methods.METHODS["sparsegpt"])("sparsegpt", "", fails)
    monkeypatch.setitem(tfopt.sparsity.methods.METHODS._found, "sparsegpt", method)
    with pytest.raises(np.linalg.LinAlgError):
        prune_once(model, 0.5, x)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

"""Every layer with a kernel is pruned; what is left alone is listed with the reason."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.callbacks import Clustering, MagnitudePruning
from tfopt.errors import ModelError, TfoptWarning
from tfopt.sparsity.magnitude import kept_count

IMAGE, SERIES, VOLUME = (6, 6, 4), (6, 4), (4, 4, 4, 2)
# layer, its input, and the kernels that are pruned
LAYERS = {
    "Dense": (lambda: layers.Dense(8), SERIES, 1),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cde->abde", output_shape=(6, 2, 8)), SERIES, 1),
    "Conv1D": (lambda: layers.Conv1D(8, 3), SERIES, 1),
    "Conv2D": (lambda: layers.Conv2D(8, 3), IMAGE, 1),
    "Conv2D in groups": (lambda: layers.Conv2D(8, 3, groups=2), IMAGE, 1),
    "Conv3D": (lambda: layers.Conv3D(8, 2), VOLUME, 1),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(8, 3), SERIES, 1),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(8, 3), IMAGE, 1),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(8, 2), VOLUME, 1),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(8, 3), SERIES, 1),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(8, 3), IMAGE, 1),
    "LSTM": (lambda: layers.LSTM(8), SERIES, 2),
    "GRU": (lambda: layers.GRU(8), SERIES, 2),
    "SimpleRNN": (lambda: layers.SimpleRNN(8), SERIES, 2),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(8)), SERIES, 4),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(8)), SERIES, 1),
    "MultiHeadAttention": (lambda: Itself(layers.MultiHeadAttention(2, 4)), SERIES, 4),
    "a model in a model": (lambda: keras.Sequential([layers.Dense(8), layers.Dense(8)]), SERIES, 2),
}
ON_REQUEST = {
    "SeparableConv2D": (lambda: layers.SeparableConv2D(8, 3, depth_multiplier=2), IMAGE, 2),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=4), SERIES, 1),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=4), IMAGE, 1),
}


class Itself(layers.Layer):
    """Attention of a sequence to itself."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x, x)


class Own(layers.Layer):
    """A layer that tfopt knows nothing of."""

    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(shape[-1], 8))
        self.scale = self.add_weight(name="scale", shape=(8,), initializer="ones")

    def call(self, x):
        return x @ self.matrix * self.scale


def network(layer, shape):
    return keras.Sequential([layers.Input(shape), layer, layers.Flatten(), layers.Dense(3, name="head")])


def skipped(layer, sparsity=0.5, **settings):
    """What a pruning of eight steps would leave alone."""
    pruning = MagnitudePruning(sparsity, **settings)
    pruning.choose(network(layer, SERIES), 8)
    return pruning.skipped


def pruned(layer, shape, sparsity=0.5, **settings):
    model = network(layer, shape)
    model.compile("sgd", "mse")
    pruning = MagnitudePruning(sparsity, frequency=1, **settings)
    x = np.random.default_rng(0).normal(size=(32, *shape)).astype(np.float32)
    model.fit(x, np.zeros((32, 3), np.float32), batch_size=8, verbose=0, callbacks=[pruning])
    return pruning


def assert_half_is_zero(pruning, count):
    kernels = [kernel for kernel in pruning._masking.kernels if not kernel.path.startswith("head/")]
    assert len(kernels) == count
    for kernel in kernels:
        weights = kernel.variable.numpy()
        assert np.count_nonzero(weights) == kept_count(weights.size, 0.5), kernel.path


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.sample(4)
def test_a_layer_with_a_kernel_is_pruned(name):
    build, shape, count = LAYERS[name]
    assert_half_is_zero(pruned(build(), shape), count)


@pytest.mark.parametrize("name", ON_REQUEST)
@pytest.mark.sample(1)
def test_depthwise_kernels_are_pruned_when_they_are_named(name):
    build, shape, count = ON_REQUEST[name]
    assert_half_is_zero(pruned(build(), shape, only=name.split()[0]), count)


@pytest.mark.parametrize("block", [(2, 2), None])
@pytest.mark.sample(1)
def test_an_embedding_is_pruned(block):
    model = keras.Sequential([layers.Input((5,)), layers.Embedding(20, 8, name="words"), layers.Flatten()])
    model.compile("sgd", "mse")
    pruning = MagnitudePruning(0.5, frequency=1, block=block)
    x = np.random.default_rng(0).integers(0, 20, (32, 5))
    model.fit(x, np.zeros((32, 40), np.float32), batch_size=8, verbose=0, callbacks=[pruning])
    assert pruning.sparsity() == {"words/embeddings": 0.5}


def test_a_shared_layer_is_pruned_once():
    inputs = layers.Input((8,))
    shared = layers.Dense(8, name="shared")
    model = keras.Model(inputs, layers.Dense(2, name="head")(shared(shared(inputs))))
    model.compile("sgd", "mse")
    pruning = MagnitudePruning(0.5, frequency=1)
    model.fit(np.ones((16, 8)), np.ones((16, 2)), batch_size=4, verbose=0, callbacks=[pruning])
    assert pruning.sparsity() == {"shared/kernel": 0.5, "head/kernel": 0.5}


def test_the_weights_of_an_own_layer_are_pruned_by_name():
    pruning = pruned(Own(name="own"), SERIES, prunable={"Own": ["matrix"]})
    assert pruning.sparsity()["own/matrix"] == 0.5
    assert pruning.skipped == []


def test_an_own_layer_without_a_rule_is_listed_with_what_to_do():
    reason = "not a layer that TF-MOT prunes; `prunable` can name what to prune in it"
    assert skipped(Own(name="own")) == [("own", reason)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prunable": {"Own": ["matirx"]}}, r"own \(Own\) has no weight 'matirx'. It has: matrix, scale."),
        ({"prunable": {"Owm": ["matrix"]}}, "matches no layer"),
        ({"only": "own"}, "Name those of a layer of your own in `prunable`"),
        ({"prunable": {"Own": ["scale"]}, "block": (2, 2)}, "own/scale has one axis"),
        ({"rules": {"*": 0}}, "all that could be are kept dense"),
    ],
)
def test_what_cannot_be_pruned_is_named(settings, words):
    with pytest.raises(ModelError, match=words):
        pruned(Own(name="own"), SERIES, **settings)


def test_what_a_rule_or_erk_keeps_dense_is_listed():
    assert skipped(layers.Dense(8, name="body"), rules={"head": 0}) == [("head", "kept dense by a rule")]
    assert skipped(layers.Dense(2, name="body"), 0.2, allocation="erk") == [("body", "kept dense by erk")]


def test_a_kernel_too_narrow_for_n_of_m_is_listed():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(8, 3, name="conv"), layers.Flatten()])
    model.add(layers.Dense(3, name="head"))
    model.compile("sgd", "mse")
    pruning = MagnitudePruning(keep=(2, 4))
    model.fit(np.ones((16, 6, 6, 1)), np.ones((16, 3)), verbose=0, callbacks=[pruning])
    assert pruning.skipped == [("conv/kernel", "it has no more than 2 weights in a row")]
    assert pruning.sparsity() == {"head/kernel": 0.5}


def warned(callback, model, shape):
    """The tfopt warnings of a fit."""
    model.compile("sgd", "mse")
    x = np.zeros((8, *shape), np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            model.fit(x, np.zeros((8, 3), np.float32), verbose=0, callbacks=[callback])
    return [str(one.message) for one in caught if one.category is TfoptWarning]


CALLBACKS = {
    "MagnitudePruning": lambda **settings: MagnitudePruning(0.5, frequency=1, **settings),
    "Clustering": lambda **settings: Clustering(4, **settings),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_layers_left_alone_are_a_warning_once_and_in_one_line(name):
    model = keras.Sequential([layers.Input(SERIES), Own(name="own"), Own(name="other"), layers.Flatten()])
    model.add(layers.Dense(3, name="head"))
    reason = "not a layer that TF-MOT prunes; `prunable` can name what to prune in it"
    assert warned(CALLBACKS[name](), model, SERIES) == [f"{name} leaves own, other alone: {reason}."]
    assert warned(CALLBACKS[name](prunable={"Own": ["matrix"]}), model, SERIES) == []


@pytest.mark.parametrize("name", CALLBACKS)
def test_what_was_asked_for_or_is_the_default_is_no_warning(name):
    model = keras.Sequential([layers.Input((6, 6, 2)), layers.DepthwiseConv2D(3), layers.PReLU(), layers.Flatten()])
    model.add(layers.Dense(4, name="body"))
    model.add(layers.Dense(3, name="head"))
    callback = CALLBACKS[name](skip="head", rules={"body": 0.5 if name == "MagnitudePruning" else 2})
    assert warned(callback, model, (6, 6, 2)) == []
    assert [path for path, _ in callback.skipped if path == "head"] == ["head"]


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_frozen_layer_is_left_alone_unless_it_is_named(name):
    def made():
        inner = keras.Sequential([layers.Input((8,)), layers.Dense(8, name="deep")], name="inner")
        body = layers.Dense(8, name="body", trainable=False)
        model = keras.Sequential([layers.Input((8,)), body, inner, layers.Dense(3, name="head")])
        inner.trainable = False
        return model, {path: model.get_layer(path).kernel.numpy() for path in ("body", "head")}

    model, before = made()
    reason = "it does not train (trainable=False); naming it in `only` chooses it all the same"
    assert warned(CALLBACKS[name](), model, (8,)) == [f"{name} leaves body, inner/deep alone: {reason}."]
    np.testing.assert_array_equal(model.get_layer("body").kernel.numpy(), before["body"])
    assert len(np.unique(model.get_layer("head").kernel.numpy())) < before["head"].size
    model, before = made()
    assert warned(CALLBACKS[name](only=["body", "inner"]), model, (8,)) == []
    assert len(np.unique(model.get_layer("body").kernel.numpy())) < before["body"].size


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_rule_may_name_a_frozen_layer_or_keep_it_as_it_is(name):
    def made():
        return keras.Sequential(
            [layers.Input((8,)), layers.Dense(8, name="body", trainable=False), layers.Dense(3, name="head")]
        )

    value = 0.5 if name == "MagnitudePruning" else 2
    model = made()
    assert warned(CALLBACKS[name](rules={"body": value}), model, (8,)) == []
    assert len(np.unique(model.get_layer("body").kernel.numpy())) < 64
    model = made()
    before = model.get_layer("body").kernel.numpy()
    assert len(warned(CALLBACKS[name](rules={"body": 0}), model, (8,))) == 1
    np.testing.assert_array_equal(model.get_layer("body").kernel.numpy(), before)


def test_a_model_that_does_not_train_has_nothing_to_prune():
    model = network(layers.Dense(8), SERIES)
    model.trainable = False
    with pytest.raises(ModelError, match="those with a kernel do not train"):
        MagnitudePruning(0.5).choose(model, 8)

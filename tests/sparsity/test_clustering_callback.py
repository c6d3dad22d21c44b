"""`Clustering` in other people's `fit()`."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.sparsity.pair import trained_pair
from tfopt.callbacks import Clustering
from tfopt.errors import InputError, ModelError
from tfopt.sparsity.clustering import cluster
from tfopt.sparsity.magnitude import magnitude_mask


def network():
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(4, name="head"),
        ]
    )


def small():
    return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, name="head")])


def compiled(model, optimizer="sgd", **options):
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def fit(model, blobs, callbacks, epochs=1, **options):
    keras.utils.set_random_seed(0)
    return model.fit(*blobs, batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks, **options)


def distinct(model):
    return [np.unique(weight).size for weight in model.get_weights() if weight.ndim > 1]


WAYS = {
    "plain": {},
    "eagerly": {"run_eagerly": True},
    "with XLA": {"jit_compile": True},
    "three steps in one execution": {"steps_per_execution": 3},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.sample(1)
def test_every_kernel_ends_with_as_many_values_and_still_learns(way, blobs):
    model = compiled(network(), keras.optimizers.SGD(0.1), **WAYS[way])
    fit(model, blobs, [])
    clustering = Clustering(8)
    history = fit(model, blobs, [clustering], epochs=8)
    assert distinct(model) == [8, 8, 8]
    assert clustering.values() == {"conv/kernel": 8, "hidden/kernel": 8, "head/kernel": 8}
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]


def test_the_values_are_shared_after_every_batch_and_are_trained(blobs):
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.get_layer("head").kernel.numpy())
    )
    model = compiled(small())
    fit(model, blobs, [Clustering(6), watch])
    assert {np.unique(kernel).size for kernel in seen} == {6}
    assert len({float(kernel.max()) for kernel in seen}) == len(seen)


def test_a_step_moves_a_shared_value_by_the_mean_of_the_steps_of_its_weights(blobs):
    model = compiled(network(), keras.optimizers.SGD(0.1))
    start = [cluster(array, 4).weights if array.ndim > 1 else array for array in model.get_weights()]
    model.set_weights(start)
    free = compiled(network(), keras.optimizers.SGD(0.1))
    free.set_weights(start)
    one = [array[:32] for array in blobs]
    keras.utils.set_random_seed(0)
    free.fit(*one, batch_size=32, epochs=1, shuffle=False, verbose=0)
    model.fit(*one, batch_size=32, epochs=1, shuffle=False, verbose=0, callbacks=[Clustering(4)])
    for before, plain, shared in zip(start, free.get_weights(), model.get_weights(), strict=True):
        if before.ndim < 2:
            continue
        for value in np.unique(before):
            np.testing.assert_allclose(shared[before == value], plain[before == value].mean(), atol=1e-6)


def test_the_zeros_of_a_pruned_model_stay(blobs):
    model = compiled(network())
    model.set_weights([weight * magnitude_mask(weight, 0.8) for weight in model.get_weights()])
    zeros = [weight == 0 for weight in model.get_weights()]
    fit(model, blobs, [Clustering(5)])
    for before, weight in zip(zeros, model.get_weights(), strict=True):
        if weight.ndim > 1:
            np.testing.assert_array_equal(weight == 0, before)
    assert distinct(model) == [5, 5, 5]


@pytest.mark.parametrize("settings", [{"only": ["Exp"]}, {"skip": ["Exp"]}, {"rules": {"Exp": 3}}])
def test_a_pattern_that_names_an_operation_alone_says_that_it_has_no_weights(settings):
    x = layers.Input((4,))
    model = keras.Model(x, keras.ops.exp(layers.Dense(3, name="head")(x)))
    with pytest.raises(ModelError, match=r"'Exp' of .* an operation between layers, which has no weights.*head"):
        Clustering(4, **settings).choose(model)


def test_rules_and_patterns_choose(blobs):
    model = compiled(network())
    clustering = Clustering(4, rules={"Dense": 6, "head": 0})
    fit(model, blobs, [clustering])
    assert distinct(model)[:2] == [4, 6]
    assert distinct(model)[2] > 32
    assert clustering.skipped == [("head", "left alone by a rule")]
    only = Clustering(4, only="hidden")
    assert [(kernel.path, count) for kernel, count in only.choose(model)] == [("hidden/kernel", 4)]
    assert [where for where, _ in only.skipped] == ["conv", "head"]


def test_biases_are_clustered_when_asked(blobs):
    model = compiled(network())
    drawn = np.random.default_rng(0)
    model.set_weights([w if w.ndim > 1 else drawn.normal(size=w.shape) for w in model.get_weights()])
    clustering = Clustering(8, biases=3)
    fit(model, blobs, [clustering])
    assert [np.unique(weight).size for weight in model.get_weights() if weight.ndim == 1] == [3, 3, 3]
    assert clustering.values()["hidden/bias"] == 3


def test_the_model_is_its_own_again_afterwards(blobs, tmp_path):
    model = network()
    own = keras.constraints.MaxNorm(3.0)
    model.get_layer("head").kernel.constraint = own
    fit(compiled(model), blobs, [Clustering(4)])
    assert model.get_layer("head").kernel.constraint is own
    assert model.get_layer("conv").kernel.constraint is None
    model.save(tmp_path / "model.keras")
    assert b"tfopt" not in (tmp_path / "model.keras").read_bytes()
    fit(model, blobs, [])
    assert distinct(model)[1] > 100


def test_a_fit_that_fails_lets_go(blobs):
    def fail(batch, logs):
        raise KeyError("stop")

    model = compiled(network())
    with pytest.raises(KeyError), Clustering(4) as clustering:
        fit(model, blobs, [clustering, keras.callbacks.LambdaCallback(on_train_batch_begin=fail)])
    assert model.get_layer("conv").kernel.constraint is None


def test_a_state_put_away_and_taken_up_gives_the_weights_of_one_go(blobs):
    def train(model, clustering, first, last):
        keras.utils.set_random_seed(0)
        model.fit(
            *blobs, batch_size=32, initial_epoch=first, epochs=last, shuffle=False, verbose=0, callbacks=[clustering]
        )

    keras.utils.set_random_seed(4)
    whole = compiled(small(), keras.optimizers.SGD(0.05))
    train(whole, Clustering(6, biases=4), 0, 2)
    first = Clustering(6, biases=4)
    keras.utils.set_random_seed(4)
    model = compiled(small(), keras.optimizers.SGD(0.05))
    train(model, first, 0, 1)
    state = first.get_state()
    second = Clustering(6, biases=4)
    second.set_state(state)
    train(model, second, 1, 2)
    for a, b in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "settings", [{"clusters": 1}, {"clusters": 4, "biases": 1}, {"clusters": 4, "rules": {"head": 1}}]
)
def test_fewer_than_two_values_are_refused(settings):
    with pytest.raises(InputError, match="at least 2"):
        Clustering(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"only": "hiden"}, "Did you mean 'hidden'"),
        ({"rules": {"hiden": 3}}, "Did you mean 'hidden'"),
        ({"rules": {"*": 0}}, "no layer is left to cluster"),
    ],
)
def test_patterns_that_choose_nothing_are_refused(settings, words, blobs):
    with pytest.raises(ModelError, match=words):
        fit(compiled(network()), blobs, [Clustering(4, **settings)])


def test_a_model_without_weights_is_refused(blobs):
    model = keras.Sequential([layers.Flatten(), layers.Dense(4)])
    with pytest.raises(ModelError, match="no weights yet"):
        fit(compiled(model), blobs, [Clustering(4)])


@pytest.mark.slow
def test_the_clusters_are_those_of_the_weights_that_another_callback_brings_back(blobs, tmp_path):
    class Failure(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(tmp_path)
    first, second = compiled(network()), compiled(network())
    with pytest.raises(KeyboardInterrupt):
        fit(first, blobs, [Clustering(4), backup, Failure()], epochs=4)
    kept = [set(np.unique(weight)) for weight in first.get_weights() if weight.ndim > 1]
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            [set(np.unique(weight)) for weight in second.get_weights() if weight.ndim > 1]
        )
    )
    fit(second, blobs, [Clustering(4), keras.callbacks.BackupAndRestore(tmp_path), look], epochs=4)
    assert seen[0] == kept
    assert distinct(second) == [4, 4, 4]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.sample(1)
def test_mixed_precision_ends_with_as_many_values(policy, blobs):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(small())
    finally:
        keras.config.set_dtype_policy(before)
    fit(model, blobs, [Clustering(6)])
    assert distinct(model) == [6]


MIRRORED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfopt.callbacks import Clustering
generator = np.random.default_rng(0)
x, y = generator.normal(size=(256, 16)).astype("float32"), generator.integers(0, 4, 256)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    hidden, head = keras.layers.Dense(24, activation="relu"), keras.layers.Dense(4)
    model = keras.Sequential([keras.layers.Input((16,)), hidden, head])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
before = model.get_weights()[0]
model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=[Clustering(5)])
for layer in model.layers:
    for replica in strategy.experimental_local_results(layer.kernel.value):
        print("VALUES", np.unique(replica.numpy()).size)
print("MOVED", bool((model.get_weights()[0] != before).any()))
"""


@pytest.mark.slow
def test_two_logical_devices_of_a_mirrored_strategy_share_the_same_values(python):
    assert python(MIRRORED).split() == ["VALUES", "5"] * 4 + ["MOVED", "True"]


def test_a_model_that_keras_never_calls_built_is_clustered():
    assert max(distinct(trained_pair(Clustering(4)))) <= 4

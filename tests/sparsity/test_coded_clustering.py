"""`Clustering` that counts coded bytes, in other people's `fit()`."""

import warnings

import keras
import numpy as np
import pytest

from tests.sparsity.test_clustering_callback import WAYS, compiled, fit, network, small
from tfopt.callbacks import Clustering
from tfopt.errors import InputError, ModelError, TfoptWarning
from tfopt.sparsity.clustering import cluster
from tfopt.sparsity.coded_size import deflated_bytes, file_order
from tfopt.sparsity.coded_updates import UPDATES, CodedUpdates
from tfopt.sparsity.drifting_values import DriftingValues
from tfopt.sparsity.entropy_clustering import coded_kernel
from tfopt.sparsity.magnitude import magnitude_mask


def kernels(model):
    return [weight for weight in model.get_weights() if weight.ndim > 1]


def coded_bytes(model):
    """The bytes of deflated kernels, each value a byte."""
    numbers = []
    for weight in kernels(model):
        nonzero = np.unique(weight[weight != 0])
        numbers.append(np.where(file_order(weight) == 0, 0, np.searchsorted(nonzero, file_order(weight)) + 1))
    return deflated_bytes(numbers)


def pruned(optimizer="adam", **options):
    model = compiled(network(), optimizer, **options)
    model.set_weights([w * magnitude_mask(w, 0.5) if w.ndim > 1 else w for w in model.get_weights()])
    return model


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.sample(1)
def test_the_kernels_take_the_bytes_asked_for_and_still_learn(way, blobs):
    model = pruned(keras.optimizers.Adam(0.01), **WAYS[way])
    zeros = [weight == 0 for weight in kernels(model)]
    history = fit(model, blobs, [Clustering(8, coded_bytes=120)], epochs=6)
    assert 100 < coded_bytes(model) <= 125  # unused values are no numbers here
    for before, weight in zip(zeros, kernels(model), strict=True):
        assert not weight[before].any()
        assert np.unique(weight).size <= 8
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]


def test_many_bytes_take_no_weight_away(blobs):
    model = pruned()
    before = [np.count_nonzero(weight) for weight in kernels(model)]
    fit(model, blobs, [Clustering(8, coded_bytes=100_000)], epochs=2)
    assert [np.count_nonzero(weight) for weight in kernels(model)] == before


def test_values_are_shared_after_every_batch_and_the_choice_stays_after_the_end(blobs):
    patterns = []

    def look(batch, logs):
        kernel = model.get_layer("head").kernel.numpy()
        assert np.unique(kernel).size <= 6
        patterns.append((kernel == 0).tobytes())

    model = pruned()
    fit(
        model,
        blobs,
        [Clustering(6, coded_bytes=150, end=0.5), keras.callbacks.LambdaCallback(on_train_batch_end=look)],
        epochs=4,
    )
    assert len(set(patterns[:16])) > 1
    assert len(set(patterns[17:])) == 1


def test_a_step_moves_a_value_by_the_mean_of_the_steps_and_each_weight_by_its_own():
    weights = np.array([[1.0, 0.0], [1.2, -2.0], [3.0, 0.0]], np.float32)
    book = cluster(weights, 4)
    values = DriftingValues(coded_kernel(weights, book), weights.shape, None, None)
    held = book.weights
    moved = values.hold(keras.ops.convert_to_tensor(held + np.array([[0.1, 9], [0.3, 0.5], [-0.2, 9]], np.float32)))
    np.testing.assert_allclose(moved - held, [[0.2, 0], [0.2, 0.5], [-0.2, 0]], atol=1e-6)
    np.testing.assert_allclose(values.coded().weights, [1.1, 1.5, 2.8, -1.5], rtol=1e-6)


def test_a_weight_without_a_value_drifts_on_and_may_come_back():
    weights = np.array([[1.0], [0.5], [2.0]], np.float32)
    values = DriftingValues(coded_kernel(weights, cluster(weights, 4)), weights.shape, None, None)
    now = values.coded()
    now.indices[1] = -1
    values.take(now)
    assert values.weights("float32")[1, 0] == 0
    values.hold(values.weights("float32") + np.array([[0], [1.25], [0]], np.float32))
    assert values.weights("float32")[1, 0] == 0
    assert values.coded().weights[1] == pytest.approx(1.75)


def recorded(model, adam, blobs, **settings):
    """The moments of the first kernel and the importance of all at each choice of a training."""

    class Recorded(CodedUpdates):
        def choose(self, optimizer, number):
            moments = np.array(adam._velocities[adam._get_variable_index(self._held[0][0].variable)])
            super().choose(optimizer, number)
            found.append((moments, self.importance))

    found = []
    callback = Clustering(6, coded_bytes=150, **settings)
    callback._updates = Recorded(150, 0.75)
    fit(model, blobs, [callback], epochs=2)
    return found


@pytest.mark.parametrize("wrap", [lambda adam: adam, keras.optimizers.LossScaleOptimizer], ids=["adam", "loss scale"])
def test_adams_second_moments_say_which_weights_matter(wrap, blobs):
    adam = keras.optimizers.Adam()
    for moments, (importance, *_) in recorded(pruned(wrap(adam)), adam, blobs):
        assert moments.max() > 0
        roots = np.sqrt(moments)
        np.testing.assert_allclose(importance - importance.min(), roots - roots.min(), rtol=1e-4, atol=1e-7)


def test_a_kernel_that_the_optimizer_does_not_know_is_as_important_as_the_others_in_the_mean(blobs):
    adam = keras.optimizers.Adam()
    model = pruned(adam)
    model.get_layer("head").trainable = False
    model = compiled(model, adam)
    for _, (*known, unknown) in recorded(model, adam, blobs, only="*"):
        assert unknown.shape == model.get_layer("head").kernel.shape
        mean = np.concatenate([one.ravel() for one in known]).mean()
        np.testing.assert_allclose(unknown, mean, rtol=1e-6)
        assert np.ptp(known[0]) > 0


def test_weights_last_while_gradients_are_accumulated_and_no_moment_tells_what_matters(blobs):
    def look(batch, logs):
        moments.append(max(np.abs(one).max() for one in optimizer._velocities))
        left.append(min(np.count_nonzero(weight) for weight in kernels(model)))

    moments, left = [], []
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=4)
    model = pruned(optimizer)
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    fit(model, blobs, [Clustering(8, coded_bytes=180), watch], epochs=1)
    assert moments[2] == 0 < moments[-1]
    assert min(left) > 0


def test_bytes_that_cannot_be_reached_are_said_with_those_that_were(blobs):
    model = pruned()
    with pytest.warns(TfoptWarning, match=r"coded_bytes 1 is too few: the kernels take \d+ bytes, and conv") as told:
        fit(model, blobs, [Clustering(6, coded_bytes=1)])
    assert len([one for one in told if one.category is TfoptWarning]) == 1
    assert f"take {coded_bytes(model)} bytes" in str(told[0].message)
    assert "lost every weight. Raise it" in str(told[0].message)


def test_bytes_that_are_reached_and_kernels_that_were_zero_are_no_warning(blobs):
    model = pruned()
    model.get_layer("head").kernel.assign(np.zeros(model.get_layer("head").kernel.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("error", TfoptWarning)
        fit(model, blobs, [Clustering(6, coded_bytes=200)])
    assert not model.get_layer("head").kernel.numpy().any()


def test_a_training_without_kernels_to_count_chooses_nothing():
    updates = CodedUpdates(1, 1.0)
    updates.begin([], None)
    updates.choose(keras.optimizers.Adam(), UPDATES)
    assert updates.ended
    assert updates.importance == []


def test_a_state_put_away_and_taken_up_gives_the_weights_of_one_go(blobs):
    def train(model, clustering, first, last):
        keras.utils.set_random_seed(0)
        model.fit(
            *blobs, batch_size=32, initial_epoch=first, epochs=last, shuffle=False, verbose=0, callbacks=[clustering]
        )

    def begun():
        keras.utils.set_random_seed(4)
        return compiled(small(), keras.optimizers.SGD(0.05))

    def clustering():
        return Clustering(6, biases=4, coded_bytes=110, end=0.9)

    class Halfway(Clustering):
        """The bytes and steps of a training of two epochs, which ends after the first."""

        def on_train_batch_begin(self, batch, logs=None):
            self.params["epochs"] = 2
            super().on_train_batch_begin(batch, logs)

    whole, model = begun(), begun()
    train(whole, clustering(), 0, 2)
    first = Halfway(6, biases=4, coded_bytes=110, end=0.9)
    with pytest.warns(UserWarning, match="stopped before its end"):
        train(model, first, 0, 1)
    second = clustering()
    second.set_state(first.get_state())
    train(model, second, 1, 2)
    for a, b in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_state_of_other_layers_is_refused(blobs):
    first = Clustering(6, coded_bytes=110)
    fit(pruned(), blobs, [first])
    second = Clustering(6, coded_bytes=110)
    second.set_state(first.get_state())
    with pytest.raises(ModelError, match="of other layers"):
        fit(compiled(small()), blobs, [second])


def test_a_training_of_unknown_length_is_refused(blobs):
    def batches():
        yield from [tuple(part[:32] for part in blobs)] * 4

    with pytest.raises(ModelError, match="known length"), Clustering(6, coded_bytes=110) as clustering:
        pruned().fit(batches(), epochs=1, verbose=0, callbacks=[clustering])


@pytest.mark.parametrize(("steps", "epochs", "end"), [(100, 2, 0.75), (7, 3, 1.0), (2, 1, 1.0)])
def test_the_last_choice_is_made_before_the_end_and_no_number_goes_twice(steps, epochs, end):
    updates, made = CodedUpdates(100, end), []
    updates.begin([], None)
    for epoch in range(epochs):
        for batch in range(steps):
            if number := updates.due({"steps": steps, "epochs": epochs}, epoch, batch):
                made.append((epoch * steps + batch, number))
                updates._done = number
    numbers = [number for _, number in made]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == UPDATES
    assert made[0][0] > 0
    assert made[-1][0] <= end * steps * epochs - 1


def test_a_training_that_stops_early_is_said(blobs):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    with pytest.warns(UserWarning, match="stopped before its end"):
        fit(pruned(), blobs, [Clustering(6, coded_bytes=110), Stop()], epochs=4)


@pytest.mark.parametrize(
    "settings",
    [{"coded_bytes": 0}, {"coded_bytes": "5 KB"}, {"coded_bytes": 100, "end": 0}, {"coded_bytes": 9, "end": 2}],
)
def test_bytes_and_ends_that_mean_nothing_are_refused(settings):
    with pytest.raises(InputError, match=r"coded_bytes is a number, at least 1, and end"):
        Clustering(6, **settings)

"""Rewinding: what comes after a pruning is what a training of the masked early weights would have been."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from tfopt.callbacks import MagnitudePruning
from tfopt.errors import InputError, ModelError

STEPS = 8  # of the 256 blobs in batches of 32


def network():
    keras.utils.set_random_seed(9)
    return keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(24, activation="relu"), layers.Dense(4)]
    )


def compiled(model, optimizer=None, **options):
    optimizer = optimizer or keras.optimizers.Adam(0.01)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def fit(model, blobs, callbacks, epochs, initial_epoch=0):
    model.fit(
        *blobs,
        batch_size=32,
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


@pytest.mark.parametrize("rewind_to", [0, 3])
@pytest.mark.sample(1)
def test_weights_go_back_and_train_again_as_the_masked_early_ones_would(blobs, rewind_to):
    model = compiled(network())
    pruning = MagnitudePruning(
        0.7, schedule="one_shot", begin=2 * STEPS + 1, rewind="weights", rewind_to=rewind_to, allocation="global"
    )
    fit(model, blobs, [pruning], epochs=4)
    masks = [mask.numpy() for mask in pruning._masks]

    early = compiled(network())
    if rewind_to:
        early.fit(*[a[: 32 * rewind_to] for a in blobs], batch_size=32, epochs=1, shuffle=False, verbose=0)
    kernels = [layer.kernel for layer in early.layers if hasattr(layer, "kernel")]
    for kernel, mask in zip(kernels, masks, strict=True):
        kernel.assign(kernel * mask)
        kernel.constraint = lambda weights, mask=mask: weights * mask
    early.make_train_function(force=True)
    fit(early, blobs, [], epochs=2)
    for a, b in zip(model.get_weights(), early.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_learning_rate_goes_back_and_the_weights_stay(blobs):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2 * STEPS], [0.01, 0.0])
    model = compiled(network(), keras.optimizers.SGD(schedule))
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.layers[-1].kernel.numpy())
    )
    pruning = MagnitudePruning(
        0.5, schedule="iterative", rounds=2, begin=2 * STEPS + 1, end=4 * STEPS + 1, rewind="learning_rate"
    )
    fit(model, blobs, [pruning, watch], epochs=6)
    moved = [not np.array_equal(a, b) for a, b in itertools.pairwise(seen)]
    assert all(moved), "a rate of zero after step 16 would stop it if it were not rewound twice"
    assert int(model.optimizer.iterations) == 2 * STEPS
    before, after = seen[2 * STEPS - 1], seen[2 * STEPS]
    assert np.abs(after[after != 0] - before[after != 0]).max() < 0.1
    assert np.abs(after).max() > 0


def test_each_round_takes_the_same_share_of_what_is_left(blobs):
    model = compiled(network(), "sgd")
    shares = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: shares.append(pruning.sparsity()))
    pruning = MagnitudePruning(0.875, schedule="iterative", rounds=3, begin=STEPS, end=3 * STEPS, rewind="weights")
    fit(model, blobs, [pruning, watch], epochs=4)
    found = [share[next(iter(share))] for share in shares]
    assert found == [pytest.approx(share, abs=0.01) for share in (0.5, 0.75, 0.875, 0.875)]


def test_an_interrupted_training_rewinds_to_what_the_first_part_kept(blobs):
    def make():
        return MagnitudePruning(0.6, schedule="one_shot", begin=2 * STEPS + 3, rewind="weights", rewind_to=2)

    whole = compiled(network(), keras.optimizers.SGD(0.05, momentum=0.9))
    first = make()
    fit(whole, blobs, [first], epochs=4)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.state = pruning.get_state()
                self.model.stop_training = True

    model, pruning, stop = compiled(network(), keras.optimizers.SGD(0.05, momentum=0.9)), make(), Stop()
    with pytest.warns(UserWarning, match="pruning stopped at step 16, before its schedule's end at 19"):
        model.fit(*blobs, batch_size=32, epochs=4, shuffle=False, verbose=0, callbacks=[pruning, stop])
    second = make()
    second.set_state(stop.state)
    fit(model, blobs, [second], epochs=4, initial_epoch=2)
    for a, b in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rewind": "weights"}, "goes with schedule 'one_shot' or 'iterative'"),
        ({"schedule": "one_shot", "rewind": "rates"}, "'weights' or 'learning_rate'"),
        ({"schedule": "one_shot", "rewind": "weights", "rewind_to": 1.5}, "rewind_to is a step number"),
        ({"schedule": "iterative"}, "rounds goes with schedule 'iterative'"),
        ({"rounds": 3}, "rounds goes with schedule 'iterative'"),
        ({"schedule": "iterative", "rounds": 0}, "at least 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        MagnitudePruning(0.5, **settings)


def test_a_point_after_the_first_pruning_is_refused(blobs):
    pruning = MagnitudePruning(0.5, schedule="one_shot", begin=4, rewind="weights", rewind_to=0.5)
    with pytest.raises(InputError, match=r"before the first pruning\. Received: step 16, pruning at 4"):
        fit(compiled(network()), blobs, [pruning], epochs=4)


def test_several_steps_in_one_execution_are_refused(blobs):
    pruning = MagnitudePruning(0.5, schedule="one_shot", begin=4, rewind="weights")
    with pytest.raises(ModelError, match="steps_per_execution=1"):
        fit(compiled(network(), steps_per_execution=2), blobs, [pruning], epochs=1)


def test_rounds_that_do_not_fit_are_refused(blobs):
    pruning = MagnitudePruning(0.5, schedule="iterative", rounds=9, begin=1, end=4)
    with pytest.raises(InputError, match="9 rounds do not fit between step 1 and step 4"):
        fit(compiled(network()), blobs, [pruning], epochs=1)

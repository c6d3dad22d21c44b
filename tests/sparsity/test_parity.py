"""The same weights in, the same masks out: TF-MOT's stock wrappers on tf_keras against the callback on Keras 3."""

import itertools

import keras
import numpy as np
import pytest

from tfopt.callbacks import MagnitudePruning
from tfopt.sparsity import constant_sparsity, polynomial_decay
from tfopt.sparsity.tfmot import tfmot

tfmot()  # imports TF-MOT without turning tf.keras into Keras 2
import tf_keras  # noqa: E402
from tensorflow_model_optimization.python.core.sparsity.keras import prune, pruning_callbacks  # noqa: E402

STEPS_PER_EPOCH, EPOCHS, BATCH = 20, 4, 16


def perceptron(layers, models):
    return models.Sequential(
        [
            layers.Input((64,)) if layers is keras.layers else layers.InputLayer((64,)),
            layers.Dense(24, activation="relu"),
            layers.Dense(10),
        ]
    )


def convolutional(layers, models):
    return models.Sequential(
        [
            layers.Input((64,)) if layers is keras.layers else layers.InputLayer((64,)),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.SeparableConv2D(12, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


PATTERNS = {
    "blocks of 4 x 4 by maximum": (
        {"block": (4, 4), "block_pooling": "max"},
        {"block_size": (4, 4), "block_pooling_type": "MAX"},
    ),
    "blocks of 1 x 8 by mean": ({"block": (1, 8)}, {"block_size": (1, 8)}),
    "two of four": ({"keep": (2, 4)}, {"sparsity_m_by_n": (2, 4)}),
}

SCHEDULES = {
    "polynomial every 10": lambda: polynomial_decay(0.1, 0.75, 5, 75, frequency=10),
    "constant every 5, with regrowth": lambda: constant_sparsity(0.6, 3, frequency=5),
    "due on the first step of each epoch": lambda: polynomial_decay(0.1, 0.7, 1, 61, frequency=STEPS_PER_EPOCH),
}


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(3)
    x = generator.normal(size=(STEPS_PER_EPOCH * BATCH, 64)).astype(np.float32)
    return x, (x @ generator.normal(size=(64, 10))).argmax(1).astype(np.int32)


def recorder(base, masks_now):
    class Recorder(base):
        def __init__(self):
            super().__init__()
            self.masks = []

        def on_train_batch_end(self, batch, logs=None):
            self.masks.append([mask.astype(bool) for mask in masks_now()])

    return Recorder()


def train_stock(build, weights, schedule, optimizer, samples, **pattern):
    plain = build(tf_keras.layers, tf_keras)
    plain.set_weights(weights)
    wrapped = prune.prune_low_magnitude(plain, pruning_schedule=schedule, **pattern)
    wrapped.compile(optimizer, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pairs = [var for layer in wrapped.layers for var in getattr(layer, "pruning_vars", ())]
    seen = recorder(tf_keras.callbacks.Callback, lambda: [mask.numpy() for _, mask, _ in pairs])
    callbacks = [pruning_callbacks.UpdatePruningStep(), seen]
    wrapped.fit(*samples, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)
    return seen.masks, [weight.numpy() for weight, _, _ in pairs]


def train_ours(build, weights, schedule, optimizer, samples, pattern=None, **compile_options):
    model = build(keras.layers, keras)
    model.set_weights(weights)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compile_options)
    pruning = MagnitudePruning(**({"schedule": schedule} if schedule else {}), **(pattern or {}))
    seen = recorder(keras.callbacks.Callback, lambda: [mask.numpy() for mask in pruning._masks])
    model.fit(*samples, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[pruning, seen])
    return seen.masks, [kernel.variable.numpy() for kernel in pruning._masking.kernels]


def optimizers(name):
    if name == "adam":
        return tf_keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01)
    return tf_keras.optimizers.SGD(0.05, momentum=0.9), keras.optimizers.SGD(0.05, momentum=0.9)


@pytest.mark.parametrize(
    ("build", "optimizer"),
    [(perceptron, "adam"), pytest.param(convolutional, "sgd with momentum", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "name",  # the masks of patterns are made by the schedule that is slow here
    [pytest.param(name, marks=pytest.mark.slow) if name == "polynomial every 10" else name for name in SCHEDULES],
)
def test_masks_equal_those_of_the_stock_wrappers_at_every_step(name, build, optimizer, samples):
    keras.utils.set_random_seed(11)
    weights = build(keras.layers, keras).get_weights()
    theirs_optimizer, ours_optimizer = optimizers(optimizer)
    theirs, their_kernels = train_stock(build, weights, SCHEDULES[name](), theirs_optimizer, samples)
    ours, our_kernels = train_ours(build, weights, SCHEDULES[name](), ours_optimizer, samples)
    assert len(ours) == len(theirs) == STEPS_PER_EPOCH * EPOCHS
    different = [step for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1) if not same(a, b)]
    assert different == []
    changes = sum(not same(a, b) for a, b in itertools.pairwise(ours))
    assert changes >= 3, "a schedule whose masks never change shows nothing"
    for mine, reference in zip(our_kernels, their_kernels, strict=True):
        np.testing.assert_allclose(mine, reference, atol=2e-6)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.sample(1)
def test_the_masks_of_patterns_equal_those_of_the_stock_wrappers_at_every_step(name, samples):
    keras.utils.set_random_seed(11)
    weights = perceptron(keras.layers, keras).get_weights()
    pattern, stock_pattern = PATTERNS[name]
    theirs_optimizer, ours_optimizer = optimizers("adam")
    schedule = SCHEDULES["polynomial every 10"]
    theirs, their_kernels = train_stock(perceptron, weights, schedule(), theirs_optimizer, samples, **stock_pattern)
    own_schedule = None if "keep" in pattern else schedule()
    ours, our_kernels = train_ours(perceptron, weights, own_schedule, ours_optimizer, samples, pattern)
    assert [step for step, (a, b) in enumerate(zip(ours, theirs, strict=True), 1) if not same(a, b)] == []
    assert not all(mask.all() for mask in ours[-1])
    for mine, reference in zip(our_kernels, their_kernels, strict=True):
        np.testing.assert_allclose(mine, reference, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_kernels_pruned_several_steps_in_one_execution_equal_those_of_single_steps(name, samples):
    keras.utils.set_random_seed(11)
    weights = perceptron(keras.layers, keras).get_weights()
    _, single = train_ours(perceptron, weights, SCHEDULES[name](), keras.optimizers.Adam(0.01), samples)
    _, chunked = train_ours(
        perceptron, weights, SCHEDULES[name](), keras.optimizers.Adam(0.01), samples, steps_per_execution=5
    )
    for a, b in zip(single, chunked, strict=True):
        np.testing.assert_array_equal(a, b)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

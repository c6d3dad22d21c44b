"""Penalties on whole groups of channels, against NumPy: value, gradient, and what a training under them leaves."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.sparsity.structured.reference import scrambled
from tfopt.errors import InputError, ModelError
from tfopt.models.clone import in_precision
from tfopt.regularizers import ChannelPenalty, attached, penalty_of

WEIGHT = 0.01


def residual():
    """Two layers joined by a sum, which are one family, a third with a normalization, and a head behind a Flatten."""
    x = inputs = layers.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", name="first")(x)
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="second")(x)
    y = layers.BatchNormalization(name="norm")(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Conv2D(3, 3, strides=2, padding="same", name="third")(x)
    return scrambled(keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(x))))


def groups(model):
    """The weights of each group by family, written out: `{family: [[weights of an array], ...]}` and where they are."""
    first, second, third, head = (model.get_layer(name).kernel.numpy() for name in ("first", "second", "third", "head"))
    scale = model.get_layer("norm").gamma.numpy()
    joined = [
        [first[..., k], second[..., k], second[:, :, k, :], scale[k : k + 1], third[:, :, k, :]] for k in range(4)
    ]
    narrow = [[third[..., k], head.reshape(9, 3, 2)[:, k]] for k in range(3)]
    return [joined, narrow]


def norms(family):
    return np.array([np.sqrt(sum((part.astype(np.float64) ** 2).sum() for part in group)) for group in family])


def strengths(of_groups, growth):
    return 2 ** (growth * (of_groups.max() - of_groups) / (of_groups.max() - of_groups.min()))


def expected(model, kind, growth):
    total = 0.0
    for family in groups(model):
        found = norms(family)
        sizes = np.array([sum(part.size for part in group) for group in family])
        each = found**2 if kind == "group_norm" else np.sqrt(sizes) * found
        total += (strengths(found, growth) * each).sum()
    return WEIGHT * total


@pytest.mark.parametrize("growth", [0.0, 4.0])
@pytest.mark.parametrize("kind", ["group_norm", "group_lasso"])
def test_the_penalty_is_that_of_numpy(kind, growth):
    model = residual()
    with attached(model, [ChannelPenalty(WEIGHT, kind, growth)]):
        assert penalty_of(model) == pytest.approx(expected(model, kind, growth), rel=1e-5)
        assert float(sum(model.losses)) == pytest.approx(expected(model, kind, growth), rel=1e-5)
    assert penalty_of(model) == 0.0


def test_the_largest_group_of_each_family_has_a_strength_of_one_and_the_smallest_two_to_the_growth():
    model = residual()
    with attached(model, [ChannelPenalty(WEIGHT, growth=3.0)]):
        penalty = next(v.regularizer for v in model.trainable_variables if v.regularizer is not None).parts[0]
        found = np.asarray(penalty.strengths(penalty.squared_norms()))
    for own, family in zip((found[:4], found[4:]), groups(model), strict=True):
        np.testing.assert_allclose(own, strengths(norms(family), 3.0), rtol=1e-5)
        assert own.min() == pytest.approx(1.0)
        assert own.max() == pytest.approx(8.0)


@pytest.mark.parametrize("kind", ["group_norm", "group_lasso"])
def test_the_gradient_is_that_of_the_norms_with_strengths_held(kind):
    model = residual()
    second = model.get_layer("second").kernel
    with attached(model, [ChannelPenalty(WEIGHT, kind)]):
        model.compile("sgd", "mse")
        with tf.GradientTape() as tape:
            value = sum(model.losses)
        gradient = tape.gradient(value, second.value).numpy()
    joined = groups(model)[0]
    found = norms(joined)
    sizes = np.array([sum(part.size for part in group) for group in joined])
    factors = strengths(found, 4.0) * (2 * WEIGHT if kind == "group_norm" else WEIGHT * np.sqrt(sizes) / found)
    kernel = second.numpy()  # (3, 3, in, out): both axes run along channels of the family
    wanted = kernel * (factors[:, None] + factors[None, :])
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4)


def test_equal_norms_have_equal_strengths():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4), layers.Dense(2)])
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    with attached(model, [ChannelPenalty(WEIGHT)]):
        assert penalty_of(model) == pytest.approx(WEIGHT * 4 * (3 + 2))


def test_groups_that_are_zero_have_a_gradient_of_zero():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4), layers.Dense(2)])
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    kernel = model.layers[0].kernel
    for kind in ("group_norm", "group_lasso"):
        with attached(model, [ChannelPenalty(WEIGHT, kind)]):
            with tf.GradientTape() as tape:
                value = sum(model.losses)
            np.testing.assert_array_equal(tape.gradient(value, kernel.value), np.zeros((3, 4)))


def test_batchnorm_is_the_sum_of_scales_of_chosen_families():
    model = residual()
    scales = np.abs(model.get_layer("norm").gamma.numpy()).sum()
    with attached(model, [ChannelPenalty(WEIGHT, "batchnorm")]):
        assert penalty_of(model) == pytest.approx(WEIGHT * scales, rel=1e-6)
    with pytest.raises(ModelError, match="no trainable BatchNormalization"):
        list(ChannelPenalty(WEIGHT, "batchnorm", only=("third",)).parts(model))


def test_only_and_skip_choose_families_with_all_that_is_coupled():
    model = residual()
    narrow = groups(model)[1]
    wanted = WEIGHT * (strengths(norms(narrow), 4.0) * norms(narrow) ** 2).sum()
    for penalty in (ChannelPenalty(WEIGHT, only=("third",)), ChannelPenalty(WEIGHT, skip=("second",))):
        with attached(model, [penalty]):
            assert penalty_of(model) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(InputError, match="matches no layer"):
        list(ChannelPenalty(WEIGHT, only=("fourth",)).parts(model))


def test_frozen_weights_carry_nothing():
    model = residual()
    model.get_layer("first").trainable = False
    with attached(model, [ChannelPenalty(WEIGHT, growth=0.0)]):
        frozen = (model.get_layer("first").kernel.numpy() ** 2).sum()
        assert penalty_of(model) == pytest.approx(expected(model, "group_norm", 0.0) - WEIGHT * frozen, rel=1e-5)
    model.trainable = False
    with pytest.raises(ModelError, match="no trainable weight belongs to"):
        list(ChannelPenalty(WEIGHT).parts(model))


def test_in_half_precision_the_penalty_is_the_same():
    model = residual()
    copy = in_precision(model, "mixed_bfloat16")
    with attached(copy, [ChannelPenalty(WEIGHT)]):
        assert penalty_of(copy) == pytest.approx(expected(model, "group_norm", 4.0), rel=1e-5)


def test_biases_and_outputs_are_not_penalized():
    model = residual()
    head, norm = model.get_layer("head"), model.get_layer("norm")
    with attached(model, [ChannelPenalty(WEIGHT)]):
        with tf.GradientTape() as tape:
            value = sum(model.losses)
        gradients = tape.gradient(value, [head.bias.value, norm.beta.value, norm.gamma.value])
    assert gradients[:2] == [None, None]
    assert np.all(gradients[2].numpy() != 0)


def test_training_under_the_penalty_shrinks_each_group_by_its_own_strength():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4), layers.Dense(2)])
    first, second = (layer.kernel.numpy().astype(np.float64) for layer in model.layers)
    before = np.sqrt((first**2).sum(0) + (second**2).sum(1))
    steps, rate = 6, 0.1
    after = before
    for _ in range(steps):
        after = after * (1 - rate * 2 * WEIGHT * strengths(after, 4.0))
    with attached(model, [ChannelPenalty(WEIGHT)]):
        model.compile(keras.optimizers.SGD(rate), "mse")
        zeros = np.zeros((4 * steps, 3)), np.zeros((4 * steps, 2))  # the loss of the task has no gradient
        model.fit(*zeros, batch_size=4, epochs=1, verbose=0)
    found = np.sqrt((model.layers[0].kernel.numpy() ** 2).sum(0) + (model.layers[1].kernel.numpy() ** 2).sum(1))
    np.testing.assert_allclose(found, after, rtol=1e-5)
    assert np.argmin(found / before) == np.argmin(before)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "l1"}, "group_norm, group_lasso, batchnorm"),
        ({"weight": -1.0}, "weight"),
        ({"growth": -1.0}, "growth"),
    ],
)
def test_a_mistake_is_one_line(settings, words):
    with pytest.raises(InputError, match=words):
        ChannelPenalty(**{"weight": WEIGHT, **settings})

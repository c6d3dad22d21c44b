import keras
import numpy as np
import pytest
from scipy.optimize import minimize

from tfopt.errors import InputError, ModelError
from tfopt.optimizers import ProximalAdam, ProximalSGD, build_optimizer
from tfopt.optimizers.proximal import choose, group_threshold, soft_threshold


def test_soft_thresholding_is_its_closed_form():
    weights = np.array([-2.0, -0.5, 0.0, 0.5, 2.0], np.float32)
    np.testing.assert_allclose(soft_threshold(weights, 0.5), [-1.5, 0, 0, 0, 1.5])


def test_one_step_for_all_gives_the_closed_form_of_the_group_lasso():
    weights = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    norms = np.linalg.norm(weights, axis=0)
    factor = float(np.sort(norms)[1] / 0.1) + 0.01  # of four channels the two weakest go
    expected = weights * np.maximum(1 - factor * 0.1 / norms, 0)
    found = np.asarray(group_threshold(weights, factor, 0.1, -1))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (found == 0).all(axis=0).sum() == 2


@pytest.mark.parametrize("seed", range(4))
def test_steps_of_their_own_give_the_smallest_value_that_a_numerical_search_finds(seed):
    generator = np.random.default_rng(seed)
    weights, steps, factor = generator.normal(size=4), generator.uniform(0.01, 3, size=4), 0.7

    def value(x):
        return factor * np.linalg.norm(x) + np.sum((x - weights) ** 2 / (2 * steps))

    found = np.asarray(group_threshold(weights[:, None].astype(np.float32), factor, steps[:, None], -1))[:, 0]
    best = minimize(value, weights, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20_000})
    np.testing.assert_allclose(found, best.x, atol=2e-4)
    assert value(found) <= best.fun + 1e-6


def test_a_group_is_zero_exactly_where_the_paper_says():
    weights, steps = np.array([[0.3], [0.4]], np.float32), np.array([[0.5], [2.0]], np.float32)
    border = float(np.linalg.norm(weights / steps))
    assert (np.asarray(group_threshold(weights, border * 1.001, steps, -1)) == 0).all()
    assert (np.asarray(group_threshold(weights, border * 0.999, steps, -1)) != 0).all()


def net():
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 2)),
            keras.layers.Conv2D(16, 3, name="conv"),
            keras.layers.DepthwiseConv2D(3, name="depthwise"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, name="head"),
        ]
    )


def trained(optimizer, blobs):
    x, y = blobs
    model = net()
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.concatenate([x, x[:, ::-1]], axis=-1), y, batch_size=32, epochs=4, verbose=0)
    return model


@pytest.mark.sample(1)
@pytest.mark.parametrize(("make", "factor"), [(ProximalAdam, 0.03), (ProximalSGD, 0.01)])
def test_group_lasso_empties_whole_channels_and_nothing_else(make, factor, blobs):
    rate = {"learning_rate": 0.01} if make is ProximalAdam else {"learning_rate": 0.1, "momentum": 0.9}
    model = trained(make(group_lasso=factor, axes={"depthwise": -2}, **rate), blobs)
    kernel = model.get_layer("conv").kernel.numpy()
    zeros = (kernel == 0).all(axis=(0, 1, 2))
    assert 0 < zeros.sum() < 16
    assert ((kernel == 0).any(axis=(0, 1, 2)) == zeros).all()
    depthwise = model.get_layer("depthwise").kernel.numpy()
    assert ((depthwise == 0).all(axis=(0, 1, 3)) == (depthwise == 0).any(axis=(0, 1, 3))).all()
    assert (model.get_layer("norm").gamma.numpy() != 0).all()


def test_l1_makes_zeros_in_kernels_alone_and_only_where_it_is_asked_to(blobs):
    model = trained(ProximalAdam(0.01, l1=0.01, skip=["conv"]), blobs)
    assert (model.get_layer("head").kernel.numpy() == 0).any()
    assert (model.get_layer("depthwise").kernel.numpy() == 0).any()
    assert (model.get_layer("conv").kernel.numpy() != 0).all()
    assert (model.get_layer("head").bias.numpy() != 0).all()


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ([], [], [True, False, True, False]),
        (["head"], [], [False, False, True, False]),
        ([], ["encoder/*"], [False, False, True, False]),
        (["*conv*"], [], [True, False, False, False]),
        (["encoder/norm/gamma"], [], [False, True, False, False]),
    ],
)
def test_patterns_choose_kernels_by_layer_and_other_variables_by_their_whole_path(only, skip, expected):
    paths = ["encoder/conv/kernel", "encoder/norm/gamma", "head/kernel", "head/bias"]
    assert choose(paths, only, skip) == expected


def test_a_pattern_that_chooses_nothing_is_an_error_that_names_the_layers():
    with pytest.raises(ModelError, match=r"'haed' of 'only' matches no variable\. Did you mean 'head'") as caught:
        ProximalAdam(l1=0.1, only="haed").build(net().trainable_variables)
    assert caught.value.field == ("only",)


@pytest.mark.parametrize("arguments", [{"l1": -1}, {"group_lasso": float("nan")}, {"momentum": 1.0}])
def test_factors_below_zero_and_momenta_of_one_are_refused(arguments):
    with pytest.raises(InputError, match="Received") as caught:
        build_optimizer({"proximal_sgd": arguments}, 10)
    assert caught.value.field == ("optimizer", "proximal_sgd", next(iter(arguments)))

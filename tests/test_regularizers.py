import keras
import numpy as np
import pytest
from keras import layers

from tfopt.errors import ModelError
from tfopt.layers import walk
from tfopt.regularizers import Penalty, attached, chosen, parts

L1, L2 = 0.03, 0.2


def small_model(regularizer=None):
    return keras.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(3, 3, name="conv", kernel_regularizer=regularizer, bias_initializer="ones"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(4, name="dense", bias_initializer="ones"),
        ]
    )


def penalty_of(*kernels, l1=L1, l2=L2):
    arrays = [kernel.numpy().astype(np.float64) for kernel in kernels]
    return sum(l1 * np.abs(a).sum() + l2 * (a**2).sum() for a in arrays)


def loss_of(model):
    return float(sum(model.losses)) if model.losses else 0.0


def test_the_penalty_is_l1_and_l2_over_the_kernels_alone():
    model = small_model()
    expected = penalty_of(*(model.get_layer(name).kernel for name in ("conv", "depthwise", "dense")))
    with attached(model, [Penalty(L1, L2)]):
        assert loss_of(model) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("l1", "l2"), [(L1, 0.0), (0.0, L2)])
def test_each_factor_alone_gives_its_own_penalty(l1, l2):
    model = small_model()
    with attached(model, [Penalty(l1, l2, only=("dense",))]):
        assert loss_of(model) == pytest.approx(penalty_of(model.get_layer("dense").kernel, l1=l1, l2=l2), rel=1e-5)


def test_the_penalty_is_part_of_the_loss_that_keras_trains_on():
    model = small_model()
    x, y = np.zeros((4, 8, 8, 2), np.float32), np.zeros((4, 4), np.float32)
    model.compile("sgd", "mse")
    bare = model.evaluate(x, y, verbose=0)
    with attached(model, [Penalty(L1, L2, only=("dense",))]):
        model.compile("sgd", "mse")
        loss = model.evaluate(x, y, verbose=0)
        expected = penalty_of(model.get_layer("dense").kernel)
    assert loss - bare == pytest.approx(expected, rel=1e-4)


def test_training_under_a_penalty_alone_follows_its_gradient():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2, name="dense", use_bias=False)])
    before = model.get_layer("dense").kernel.numpy()
    with attached(model, [Penalty(l1=0.1, l2=0.5)]):
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32), batch_size=4, verbose=0)
    after = model.get_layer("dense").kernel.numpy()
    np.testing.assert_allclose(after, before - 0.1 * (0.1 * np.sign(before) + 2 * 0.5 * before), atol=1e-6)


def test_patterns_choose_the_layers():
    model = small_model()
    with attached(model, [Penalty(L1, L2, only=("Conv2D", "dense"), skip=("dense",))]):
        assert loss_of(model) == pytest.approx(penalty_of(model.get_layer("conv").kernel), rel=1e-5)


def test_several_penalties_on_one_kernel_add_up():
    model = small_model()
    with attached(model, [Penalty(l1=L1, only=("dense",)), Penalty(l2=L2, only=("Dense",))]):
        assert loss_of(model) == pytest.approx(penalty_of(model.get_layer("dense").kernel), rel=1e-5)


def test_the_models_own_regularizer_stays_in_force_and_is_restored():
    own = keras.regularizers.L2(0.7)
    model = small_model(own)
    kernel = model.get_layer("conv").kernel
    before = loss_of(model)
    with attached(model, [Penalty(L1, L2, only=("conv",))]):
        inside = loss_of(model)
    assert before == pytest.approx(penalty_of(kernel, l1=0, l2=0.7), rel=1e-5)
    assert inside == pytest.approx(before + penalty_of(kernel), rel=1e-5)
    assert kernel.regularizer is own
    assert loss_of(model) == pytest.approx(before)


def test_a_nested_model_is_reached():
    inner = keras.Sequential([layers.Input((3,)), layers.Dense(3, name="inside")], name="inner")
    x = layers.Input((3,))
    model = keras.Model(x, layers.Dense(2, name="outside")(inner(x)))
    with attached(model, [Penalty(L1, L2, only=("inner",))]):
        assert loss_of(model) == pytest.approx(penalty_of(inner.get_layer("inside").kernel), rel=1e-5)


def test_a_shared_layer_is_penalised_once():
    a, b, shared = layers.Input((3,)), layers.Input((3,)), layers.Dense(2, name="shared")
    model = keras.Model([a, b], layers.Add()([shared(a), shared(b)]))
    with attached(model, [Penalty(L1, L2)]):
        assert loss_of(model) == pytest.approx(penalty_of(shared.kernel), rel=1e-5)


def test_the_kernels_of_a_recurrent_cell_are_penalised():
    model = keras.Sequential([layers.Input((5, 3)), layers.LSTM(4, name="lstm")])
    cell = model.get_layer("lstm").cell
    with attached(model, [Penalty(L1, L2, only=("lstm",))]):
        assert loss_of(model) == pytest.approx(penalty_of(cell.kernel, cell.recurrent_kernel), rel=1e-5)


def test_nothing_is_left_after_the_block():
    model = small_model()
    with attached(model, [Penalty(L1, L2)]):
        assert loss_of(model) > 0
    assert model.losses == []
    assert all(v.regularizer is None for v in model.trainable_variables)


def test_nothing_is_left_after_an_exception_in_the_block():
    model = small_model()
    with pytest.raises(KeyboardInterrupt), attached(model, [Penalty(L1, L2)]):
        raise KeyboardInterrupt
    assert model.losses == []


def test_a_pattern_without_a_match_is_an_error_and_leaves_nothing():
    model = small_model()
    with pytest.raises(ModelError, match="'nowhere'"), attached(model, [Penalty(L1), Penalty(L2, only=("nowhere",))]):
        pytest.fail("the block must not run")
    assert model.losses == []


def test_chosen_lists_the_kernels_by_path():
    assert [kernel.path for kernel in chosen(small_model(), Penalty(L1, skip=("conv",)))] == [
        "depthwise/kernel",
        "dense/kernel",
    ]


def test_a_model_that_was_regularized_saves_as_it_was(tmp_path):
    model = small_model()
    with attached(model, [Penalty(L1, L2)]):
        model.save(tmp_path / "inside.keras")
    loaded = keras.models.load_model(tmp_path / "inside.keras")
    assert loaded.losses == []
    assert [p.path for p in walk(loaded)] == [p.path for p in walk(model)]


def test_group_lasso_is_the_sum_of_the_norms_of_the_channels():
    model = small_model()
    expected = 0.0
    for name, axis in (("conv", 3), ("depthwise", 2), ("dense", 1)):
        kernel = np.moveaxis(np.array(model.get_layer(name).kernel, np.float64), axis, -1)
        rows = kernel.reshape(-1, kernel.shape[-1])
        expected += 0.1 * np.sqrt(len(rows)) * np.sqrt((rows**2).sum(0)).sum()
    with attached(model, [Penalty(group_lasso=0.1)]):
        assert loss_of(model) == pytest.approx(expected, rel=1e-4)


def test_group_lasso_empties_whole_channels_and_leaves_the_others():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(256, 10)).astype(np.float32)
    y = np.maximum(x @ generator.normal(size=(10, 3)).astype(np.float32), 0).sum(1, keepdims=True)
    model = keras.Sequential([layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
    with attached(model, [Penalty(group_lasso=0.05)]):
        model.compile(keras.optimizers.Adam(0.01), "mse")
        model.fit(x, y, epochs=60, verbose=0)
    norms = np.linalg.norm(model.layers[0].kernel, axis=0)
    empty = norms < 0.02 * norms.max()
    assert 3 <= empty.sum() <= 13


def test_the_scales_of_batch_normalizations_carry_their_own_penalty():
    model = small_model()
    model.get_layer("norm").gamma.assign([-2.0, 0.5, 1.0])
    with attached(model, [Penalty(scale_l1=0.1)]):
        assert loss_of(model) == pytest.approx(0.35, rel=1e-5)
    assert model.get_layer("norm").gamma.regularizer is None


def test_a_penalty_on_scales_without_any_is_refused():
    with pytest.raises(ModelError, match="scale_l1 falls on BatchNormalizations") as caught:
        list(parts(small_model(), Penalty(scale_l1=0.1, skip=("norm",))))
    assert caught.value.field == ("scale_l1",)

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfopt.callbacks import PenaltyLog
from tfopt.errors import ModelError
from tfopt.models.layers import walk
from tfopt.training.regularizers import Orthogonal, Penalty, attach, attached, chosen, parts

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
    model.compile("sgd", "mse", run_eagerly=True)
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
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
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


def test_a_pattern_that_names_an_operation_alone_says_that_it_has_no_weights():
    x = layers.Input((4,))
    model = keras.Model(x, keras.ops.exp(layers.Dense(3, name="head")(x)))
    with pytest.raises(ModelError, match="an operation between layers, which has no weights"):
        chosen(model, Penalty(L1, L2, only=("Exp",)))


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
        kernel = np.moveaxis(model.get_layer(name).kernel.numpy().astype(np.float64), axis, -1)
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
        model.compile(keras.optimizers.Adam(0.01), "mse", steps_per_execution=48)
        model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(32).repeat(60), shuffle=False, verbose=0)
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


def test_orthogonality_is_the_distance_of_the_gram_matrix_from_the_identity():
    model = small_model()
    conv = model.get_layer("conv").kernel.numpy().astype(np.float64).reshape(-1, 3)  # 18 weights to each of 3 channels
    dense = model.get_layer("dense").kernel.numpy().astype(np.float64)
    with attached(model, [Penalty(orthogonal=0.5, only=("conv",))]):
        assert loss_of(model) == pytest.approx(0.5 * ((conv.T @ conv - np.eye(3)) ** 2).sum(), rel=1e-5)
    with attached(model, [Penalty(orthogonal=0.5, only=("dense",))]):
        assert loss_of(model) == pytest.approx(0.5 * ((dense.T @ dense - np.eye(4)) ** 2).sum(), rel=1e-5)


def test_orthogonal_channels_cost_nothing_and_more_channels_than_weights_are_compared_by_rows():
    square = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0].astype(np.float32)
    assert float(Orthogonal(2.0)(square[:, :4])) == pytest.approx(0, abs=1e-5)
    assert float(Orthogonal(2.0)(square[:4])) == pytest.approx(0, abs=1e-5)
    assert float(Orthogonal(2.0)(2 * square[:, :4])) == pytest.approx(2 * 4 * 9, rel=1e-4)
    depthwise = square[:, :4].reshape(2, 3, 4, 1)
    assert float(Orthogonal(2.0, -2)(depthwise)) == pytest.approx(0, abs=1e-5)


def test_training_on_it_makes_a_kernel_orthogonal():
    dense = layers.Dense(4, use_bias=False)
    model = keras.Sequential([layers.Input((6,)), dense])
    with attached(model, [Penalty(orthogonal=1.0)]):
        model.compile(keras.optimizers.SGD(0.05), "mse", steps_per_execution=50)
        zeros = np.zeros((200, 6), np.float32)
        model.fit(zeros, zeros[:, :4], batch_size=1, verbose=0)
    kernel = dense.kernel.numpy()
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-3)


def test_what_was_attached_is_removed_on_request_and_the_models_own_stays():
    own = keras.regularizers.L2(0.5)
    model = small_model(own)
    before = loss_of(model)
    attachment = attach(model, [Penalty(L1), Penalty(group_lasso=0.1)])
    assert loss_of(model) > before
    attachment.remove()
    assert loss_of(model) == before
    assert model.get_layer("conv").kernel.regularizer is own
    attachment.remove()
    assert loss_of(model) == before


def test_recurrent_and_nested_kernels_carry_a_penalty():
    inner = keras.Sequential([layers.Input((5, 3)), layers.LSTM(4, name="lstm")], name="inner")
    model = keras.Sequential([layers.Input((5, 3)), inner, layers.Dense(2, name="dense")])
    cell = inner.get_layer("lstm").cell
    with attached(model, [Penalty(L1, L2, only=("inner/*",))]):
        assert loss_of(model) == pytest.approx(penalty_of(cell.kernel, cell.recurrent_kernel), rel=1e-5)


def test_the_penalty_is_logged_apart_from_the_validation_loss_of_the_task():
    model, bare = small_model(keras.regularizers.L2(0.1)), small_model()
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32, 8, 8, 2)).astype(np.float32), generator.normal(size=(32, 4)).astype(np.float32)
    with attached(model, [Penalty(L1, only=("dense",))]):
        model.compile("sgd", "mse")
        history = model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[PenaltyLog()]).history
        assert history["penalty"][-1] == pytest.approx(loss_of(model), rel=1e-5)
        assert history["penalty"][0] != history["penalty"][1]
    bare.set_weights(model.get_weights())
    bare.compile("sgd", "mse", run_eagerly=True)
    assert history["val_task_loss"][-1] == pytest.approx(bare.evaluate(x, y, verbose=0), rel=1e-4)
    assert "penalty" not in bare.fit(x, y, verbose=0, callbacks=[PenaltyLog()]).history
